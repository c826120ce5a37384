"""Which files a build has read, so that the next one knows what changed.

A file is the same when path, size, mtime and inode are the same. Every layer replaces files by rename, which gives a
new inode even within one tick of the clock. A copied home looks changed everywhere and is read again: slow once, but
never wrong. The ledger lives in the warehouse itself (schema `builder`), so a published file says what it was made of.
"""

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import duckdb
import polars as pl

from pipelines.errors import TransientError
from pipelines.home.layout import Home, event_date_of
from pipelines.home.sealed import Damage, find_damage
from pipelines.warehouse.frames import shown

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["lake_events", "lake_errors", "quarantine", "raw_events", "embeds", "sweeps", "webhook_gaps"]

# The tables of raw without partitions. Their files are few, and new in a refresh that finds nothing, too.
FLAT_KINDS: tuple[Kind, ...] = ("embeds", "sweeps", "webhook_gaps")

# The kinds of files that make up a partition of the lake, which is replaced as a whole.
LAKE_KINDS: tuple[Kind, ...] = ("lake_events", "lake_errors", "quarantine")


ClaimTypes = tuple[tuple[str, str], ...]
"""Name and type of each claim column in a file of lake events. Most files have the same as their neighbours."""


class SourceFile(NamedTuple):
    """One Parquet file below the home.

    `lake_partition` is the event date of its folder: a date or unknown. It is empty where files
    are not partitioned.
    """

    kind: Kind
    path: str
    lake_partition: str
    size: int
    mtime_ns: int
    inode: int


class DamagedLakeError(TransientError):
    """A file of the lake cannot be read whole; flattening with `looks_at_all` makes it again."""


@dataclass(frozen=True)
class Ledger:
    """Files by identity, with what their footers say: row counts, and the types of claim columns in lake events.

    `damages` says what is wrong with each file of raw that cannot be read whole. Such a file is in neither of the other
    two, so each build looks at it again.
    """

    row_counts: Mapping[SourceFile, int]
    claim_types: Mapping[SourceFile, ClaimTypes]
    damages: Mapping[SourceFile, Damage] = field(default_factory=dict[SourceFile, Damage])

    def files(self, *kinds: Kind) -> list[SourceFile]:
        """The files of these kinds, in the order of their paths."""
        return sorted((file for file in self.row_counts if file.kind in kinds), key=lambda file: file.path)

    @property
    def claim_columns(self) -> dict[str, frozenset[str]]:
        """Every claim column of the lake and the types it has in any file."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for types in set(self.claim_types.values()):
            for name, dtype in types:
                found[name].add(dtype)
        return {name: frozenset(found[name]) for name in sorted(found)}

    def raw_deliveries(self) -> dict[str, int]:
        """Deliveries in raw by lake_partition, counted from the footers of the files."""
        counts: defaultdict[str, int] = defaultdict(int)
        for file in self.files("raw_events"):
            counts[file.lake_partition] += self.row_counts[file]
        return dict(counts)


def scan(home: Home, known: Ledger | None = None) -> Ledger:
    """The ledger of the home's present files. Files in `known` are not read again; all others are read whole.

    Raises DamagedLakeError.
    """
    row_counts: dict[SourceFile, int] = {}
    claim_types: dict[SourceFile, ClaimTypes] = {}
    damages: dict[SourceFile, Damage] = {}
    for file in _list_files(home):
        if known is not None and file in known.row_counts:
            row_counts[file] = known.row_counts[file]
            if file in known.claim_types:
                claim_types[file] = known.claim_types[file]
            continue
        if (damage := find_damage(home.root / file.path)) is not None:
            if file.kind in LAKE_KINDS:
                raise DamagedLakeError(f"{damage}: refresh again, which makes it from raw.")
            damages[file] = damage
            continue
        if file.kind in FLAT_KINDS:
            row_counts[file] = pl.scan_parquet(home.root / file.path, glob=False).select(pl.len()).collect().item()
            continue
        # Opens a file in a fraction of the time that Polars takes. Where nothing has landed it is not needed, and
        # importing it takes longer than all else here.
        import pyarrow.parquet as pq

        with pq.ParquetFile(home.root / file.path) as parquet:
            row_counts[file] = parquet.metadata.num_rows
            if file.kind == "lake_events":
                claim_types[file] = _claim_types(parquet.schema_arrow)
    return Ledger(row_counts, claim_types, damages)


def lake_files(home: Home) -> list[SourceFile]:
    """The files of the lake and the quarantine as they are now."""
    return [file for file in _list_files(home) if file.kind in LAKE_KINDS]


def lake_ledger(home: Home, without: Collection[str]) -> Ledger:
    """The ledger of the lake's files as they are now, except those of the partitions `without`. Their footers alone are
    read. Raises ValueError or OSError for one that cannot be read."""
    import pyarrow.parquet as pq

    row_counts: dict[SourceFile, int] = {}
    claim_types: dict[SourceFile, ClaimTypes] = {}
    for file in lake_files(home):
        if file.lake_partition not in without:
            with pq.ParquetFile(home.root / file.path) as parquet:
                row_counts[file] = parquet.metadata.num_rows
                if file.kind == "lake_events":
                    claim_types[file] = _claim_types(parquet.schema_arrow)
    return Ledger(row_counts, claim_types)


def _claim_types(schema: "pa.Schema") -> ClaimTypes:
    return tuple((field.name, str(field.type)) for field in schema if field.name.startswith("claim_"))


def _list_files(home: Home) -> Iterator[SourceFile]:
    partitioned: dict[Kind, Path] = {
        "lake_events": home.lake_embed_events,
        "lake_errors": home.lake_validation_errors,
        "quarantine": home.quarantine,
        "raw_events": home.raw_embed_events,
    }
    for kind, table in partitioned.items():
        for folder in _entries(str(table)):
            if (lake_partition := event_date_of(folder.name)) is not None and folder.is_dir():
                yield from _parquet_files(home, kind, folder.path, lake_partition)
    flat: dict[Kind, Path] = {
        "embeds": home.raw_embeds,
        "sweeps": home.raw_sweeps,
        "webhook_gaps": home.raw_webhook_gaps,
    }
    for kind, table in flat.items():
        yield from _parquet_files(home, kind, str(table), "")


def _parquet_files(home: Home, kind: Kind, folder: str, lake_partition: str) -> Iterator[SourceFile]:
    below_root = len(str(home.root)) + 1
    for entry in _entries(folder):
        # A name that begins with a dot is a file that is still being written.
        if entry.name.endswith(".parquet") and not entry.name.startswith("."):
            status = entry.stat()
            path = entry.path[below_root:]
            yield SourceFile(kind, path, lake_partition, status.st_size, status.st_mtime_ns, status.st_ino)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


# The columns of builder.files. Keep their names: published files are read by them.
_FILES = pl.Schema(
    {
        "kind": pl.String,
        "path": pl.String,
        "partition": pl.String,
        "size": pl.Int64,
        "mtime_ns": pl.Int64,
        "inode": pl.String,
        "row_count": pl.Int64,
        "claim_types": pl.String,
    }
)


def write(connection: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """Replace `builder.files` with this ledger."""
    files = list(ledger.row_counts)
    frame = pl.DataFrame(
        {
            "kind": [file.kind for file in files],
            "path": [file.path for file in files],
            "partition": [file.lake_partition for file in files],
            "size": [file.size for file in files],
            "mtime_ns": [file.mtime_ns for file in files],
            "inode": [str(file.inode) for file in files],
            "row_count": [ledger.row_counts[file] for file in files],
            "claim_types": [
                _written(ledger.claim_types[file]) if file in ledger.claim_types else None for file in files
            ],
        },
        schema=_FILES,
    )
    with shown(connection, "ledger_files", frame):
        connection.execute(
            "create or replace table warehouse.builder.files as select * from ledger_files order by path"
        )


def read(connection: duckdb.DuckDBPyConnection) -> Ledger:
    """The ledger that a warehouse carries."""
    rows = connection.execute(
        "select kind, path, partition, size, mtime_ns, inode, row_count, claim_types from warehouse.builder.files"
    ).fetchall()
    row_counts: dict[SourceFile, int] = {}
    claim_types: dict[SourceFile, ClaimTypes] = {}
    for kind, path, lake_partition, size, mtime_ns, inode, row_count, types in rows:
        file = SourceFile(kind, path, lake_partition, size, mtime_ns, int(inode))
        row_counts[file] = row_count
        if types is not None:
            claim_types[file] = _parsed(types)
    return Ledger(row_counts, claim_types)


@lru_cache(maxsize=1_000)
def _written(types: ClaimTypes) -> str:
    return json.dumps(dict(types))


@lru_cache(maxsize=1_000)
def _parsed(text: str) -> ClaimTypes:
    return tuple(json.loads(text).items())
