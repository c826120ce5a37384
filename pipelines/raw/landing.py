"""Landing: writes the news among deliveries into raw, and records them in the index after the files.

A file is written under a temporary name, gets its link in the chain, and then its name. So no file of raw is without a
link, and a link without a file is one whose temporary file a killed writer left: the chain's next append renames it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import polars as pl

from pipelines.chain import chain
from pipelines.chain.file_links import facts_of_file, file_facts, roots_of
from pipelines.chain.linked_paths import relative
from pipelines.home.files import TEMPORARY_PREFIX, fsync, put_in_place, write_temporary_parquet
from pipelines.home.layout import Home, partition_folder
from pipelines.home.sealed import find_damage
from pipelines.home.tables import Table
from pipelines.raw import held
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS, RAW_EMBEDS, RAW_SWEEPS

# Of a file's random name. A day-long sweep lands thousands of batches, and one of two with the same name would be lost.
NAME_BYTES = 8


@dataclass(frozen=True)
class LandedBatch:
    """The outcome of one batch: for each delivery a row of event_date (where raw holds it) and is_news."""

    deliveries: pl.DataFrame

    @property
    def delivered_count(self) -> int:
        return self.deliveries.height

    @property
    def landed_count(self) -> int:
        return int(self.deliveries["is_news"].sum())

    @property
    def landed_by_date(self) -> dict[str, int]:
        news = self.deliveries.filter("is_news").group_by("event_date").len()
        return dict(news.iter_rows())


class EventLanding:
    """Lands batches of deliveries: the files first, then the index. The index changes once the caller commits."""

    def __init__(self, home: Home, connection: Any) -> None:
        self._home = home
        self._connection = connection

    def land(
        self,
        deliveries: pl.DataFrame,
        sweep_id: str,
        metadata_of: Callable[[set[int], bool], dict[str, str]] = lambda _embed_ids, _is_last: {},
    ) -> LandedBatch:
        """Write the news among `deliveries` (RAW_EMBED_EVENTS and event_date), one file per event date.

        `metadata_of` gives a file's Parquet metadata. Its arguments are the embeds whose events are all in raw once the
        file is in place, and whether the file is the batch's last. Finding the file later proves that these landed.
        """
        classified = held.classify(self._connection, deliveries)
        for path, rows, event_date in self._write(classified.filter("is_news"), sweep_id, metadata_of):
            held.remember(self._connection, self._home, path, rows, event_date)
        return LandedBatch(classified.select("event_date", "is_news"))

    def _write(
        self, news: pl.DataFrame, sweep_id: str, metadata_of: Callable[[set[int], bool], dict[str, str]]
    ) -> list[tuple[Path, pl.DataFrame, str]]:
        # No other batch has this name, not even one of the same sweep resumed: raw files are never overwritten.
        name = f"{sweep_id}-{token_hex(NAME_BYTES)}.parquet"
        days = [
            (partition_folder(self._home.raw_embed_events, str(key[0])) / name, rows, str(key[0]))
            for key, rows in news.partition_by("event_date", as_dict=True, maintain_order=True).items()
        ]
        last_file = {embed_id: i for i, (_, rows, _) in enumerate(days) for embed_id in rows["embed_id"].unique()}
        files: list[_File] = []
        for i, (path, rows, _) in enumerate(days):
            whole = {embed_id for embed_id, last in last_file.items() if last == i}
            files.append(_File(path, rows.select(RAW_EMBED_EVENTS.names), metadata_of(whole, i == len(days) - 1)))
        _land(self._home, files, sweep_id)
        if days:
            # An earlier run may have made these folders and been killed before they were durable.
            for folder in (self._home.raw_embed_events, self._home.raw_embed_events.parent, self._home.root):
                fsync(folder)
        return days


class _File(NamedTuple):
    """A file that is to land in raw, with its Parquet metadata."""

    path: Path
    rows: pl.DataFrame
    metadata: dict[str, str]


def _land(home: Home, files: Sequence[_File], sweep_id: str) -> None:
    """Put new files into raw, each whole, and all of them in the chain before any has its name."""
    if not files:
        return
    temporaries: list[Path] = []
    try:
        for path, rows, metadata in files:
            temporaries.append(write_temporary_parquet(rows, path, metadata))
        roots = roots_of([file.rows for file in files])
        facts = [
            file_facts(home, file.path, temporary, file.rows.height, root)
            for file, temporary, root in zip(files, temporaries, roots, strict=True)
        ]
        chain.append(home, [("landed", {**each, "sweep": sweep_id}) for each in facts])
    except BaseException:
        # Once they have links, the next writer gives them their names.
        linked = {link.facts.get("path") for link in chain.end_of(home).links}
        if relative(home, files[0].path) not in linked:
            for temporary in temporaries:
                temporary.unlink()
        raise
    for temporary, (path, _, _) in zip(temporaries, files, strict=True):
        put_in_place(temporary, path)


def begin_chain(home: Home, say: Callable[[str], None]) -> None:
    """Give each file of raw a link where the home has no chain yet, because raw is older than chains are."""
    if chain.has_links(home) or not (paths := raw_files(home)):
        return
    say(f"{home.raw_chain} does not exist: the chain begins with the {len(paths)} files that raw holds.")
    reason = "it was in raw before the chain began"
    chain.append(home, [("found", {**facts_of_file(home, path), "reason": reason}) for path in paths])


def raw_files(home: Home) -> list[Path]:
    """Every file of raw that the chain has a link for, sorted."""
    folders = (
        *(home.raw_embed_events, home.raw_embeds, home.raw_sweeps),
        *(home.raw_unreadable, home.raw_webhook_gaps),
    )
    return sorted(
        path for folder in folders for path in folder.rglob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX)
    )


def land_rows(home: Home, table: Table, folder: Path, rows: Iterable[dict[str, Any]], sweep_id: str) -> None:
    """Add a file of rows to a table of raw other than the events. Without rows, no file is written."""
    frame = pl.DataFrame(list(rows), schema=table.polars_schema, orient="row")
    if frame.height:
        _land(home, [_File(folder / f"{sweep_id}-{token_hex(NAME_BYTES)}.parquet", frame, {})], sweep_id)


def land_once(home: Home, table: Table, folder: Path, rows: pl.DataFrame, sweep_id: str, key: list[str]) -> None:
    """`land_rows` of those rows whose key is not yet in a file that `sweep_id` landed, nor twice among them."""
    rows = rows.unique(key, maintain_order=True)
    # What a damaged file of raw holds is added again: twice is better than not at all.
    for path in filter(lambda path: find_damage(path) is None, sorted(folder.glob(f"{sweep_id}-*.parquet"))):
        rows = rows.join(pl.read_parquet(path, columns=key), on=key, how="anti", maintain_order="left")
    land_rows(home, table, folder, rows.iter_rows(named=True), sweep_id)


def land_embeds(home: Home, rows: Iterable[dict[str, Any]], sweep_id: str) -> None:
    land_rows(home, RAW_EMBEDS, home.raw_embeds, rows, sweep_id)


def land_sweep(home: Home, row: dict[str, Any]) -> None:
    land_rows(home, RAW_SWEEPS, home.raw_sweeps, [row], row["sweep_id"])


def sweeps_begun_after(home: Home, moment: datetime) -> list[str]:
    """The sweeps in raw/sweeps that say that they began after `moment`. Damaged files are left out.

    Reads every file, so it is for when there is a reason to look.
    """
    found: list[str] = []
    for path in sorted(home.raw_sweeps.glob("*.parquet")):
        if not path.name.startswith(TEMPORARY_PREFIX) and find_damage(path) is None:
            sweeps = pl.read_parquet(path, columns=["sweep_id", "started_at"], glob=False)
            found.extend(sweeps.filter(pl.col("started_at") > moment)["sweep_id"])
    return found


def raw_row_counts(home: Home, event_dates: Iterable[str]) -> dict[str, int]:
    """The number of rows in raw for each event date, read from the files' footers. Damaged files are left out."""
    return {
        event_date: sum(
            pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
            for path in partition_folder(home.raw_embed_events, event_date).glob("*.parquet")
            if not path.name.startswith(TEMPORARY_PREFIX) and find_damage(path) is None
        )
        for event_date in event_dates
    }


def remove_stale_temporaries(home: Home) -> None:
    """Delete what a killed writer left half-written. The caller holds the home's writer lock."""
    for path in (home.root / "raw").rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink()
