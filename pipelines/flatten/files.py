"""The lake's files: one per folder and table, replaced whole; what a folder was made from is in the file's metadata.

`events.parquet` is written last, because its metadata is what says that the folder is clean.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipelines.files import TEMPORARY_PREFIX, write_parquet, write_text
from pipelines.flatten.claim_columns import ClaimColumn
from pipelines.flatten.claim_paths import Seen
from pipelines.flatten.day import FlatDay
from pipelines.flatten.schema import LAKE_DAYS
from pipelines.home import Home, partition_folder
from pipelines.raw.schema import RAW_EMBED_EVENTS
from pipelines.schema import TIMESTAMP

_METADATA_KEY = "embed_analytics"
_PREFIX = "event_date="


@dataclass(frozen=True)
class DayRecord:
    """What the metadata of a folder's events.parquet says of it."""

    version: str
    raw_files: list[str]
    report: dict[str, Any]
    """A row of LAKE_DAYS."""
    seen: dict[str, Seen]
    columns: dict[str, ClaimColumn]


def folders(table: Path) -> list[str]:
    """The event dates (`YYYY-MM-DD` or `unknown`) that have a folder, sorted."""
    if not table.is_dir():
        return []
    return sorted(entry.name.removeprefix(_PREFIX) for entry in os.scandir(table) if entry.name.startswith(_PREFIX))


def raw_files(home: Home, folder: str) -> list[str]:
    """The names of a raw folder's files, sorted."""
    path = partition_folder(home.raw_embed_events, folder)
    if not path.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(path)
        if entry.name.endswith(".parquet") and not entry.name.startswith(TEMPORARY_PREFIX)
    )


def raw_size(home: Home, folder: str, names: Iterable[str]) -> int:
    """The bytes of a raw folder's files."""
    return sum((partition_folder(home.raw_embed_events, folder) / name).stat().st_size for name in names)


def read_raw(home: Home, folder: str, names: Iterable[str]) -> pl.DataFrame:
    """The rows (RAW_EMBED_EVENTS) of a raw folder's files."""
    paths = [partition_folder(home.raw_embed_events, folder) / name for name in names]
    if not paths:
        return pl.DataFrame(schema=RAW_EMBED_EVENTS.polars_schema)
    return pl.read_parquet(
        paths, schema=RAW_EMBED_EVENTS.polars_schema, hive_partitioning=False, missing_columns="insert", glob=False
    )


def events_file(home: Home, folder: str) -> Path:
    return partition_folder(home.lake_embed_events, folder) / "events.parquet"


def write_day(home: Home, day: FlatDay, version: str, names: list[str]) -> None:
    """Replaces the folder's files; a crash at any moment leaves it as it was, or dirty."""
    quarantine_file = partition_folder(home.quarantine, day.folder) / "quarantine.parquet"
    for table in (home.quarantine, home.lake_validation_errors, home.lake_embed_events):
        for left_over in partition_folder(table, day.folder).glob(f"{TEMPORARY_PREFIX}*"):
            left_over.unlink()
    if day.quarantine.height:
        write_parquet(day.quarantine, quarantine_file)
    else:
        quarantine_file.unlink(missing_ok=True)
    write_parquet(day.errors, partition_folder(home.lake_validation_errors, day.folder) / "errors.parquet")
    record = {
        "version": version,
        "raw_files": names,
        "report": {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in day.report.items()
        },
        "claims": {
            path: [sorted(seen.types), seen.event_count, seen.first, seen.last]
            for path, seen in sorted(day.seen.items())
        },
        "claim_columns": {path: [column.name, column.type] for path, column in sorted(day.columns.items())},
    }
    write_parquet(day.events, events_file(home, day.folder), {_METADATA_KEY: json.dumps(record, ensure_ascii=False)})


def read_records(home: Home) -> Mapping[str, DayRecord]:
    """The records of all lake folders, by folder; they are shared between calls and not to be changed.

    A file's footer is opened only where `state/lake_records.json` does not have it yet: a refresh must not open the
    lake's every file to learn what all but a few days said before. The state can be lost; then they are read again.
    """
    kept = home.state / "lake_records.json"
    held = _held(kept)
    found: dict[str, list[str]] = {}
    for folder in folders(home.lake_embed_events):
        path = events_file(home, folder)
        try:
            about = path.stat()
        except FileNotFoundError:
            # A crash left the folder without its last file: it is dirty.
            continue
        # A file is replaced whole, by another inode.
        stamp = f"{about.st_ino}-{about.st_mtime_ns}-{about.st_size}"
        known = held.get(folder, ["", ""])
        found[folder] = known if known[0] == stamp else [stamp, pl.read_parquet_metadata(path)[_METADATA_KEY]]
    if found != held:
        write_text(orjson.dumps(found).decode(), kept)
    return {folder: _record(text) for folder, (_, text) in found.items()}


def _held(path: Path) -> dict[str, list[str]]:
    try:
        return orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}


@lru_cache(maxsize=10_000)
def _record(text: str) -> DayRecord:
    stored = orjson.loads(text)
    report = {
        name: datetime.fromisoformat(value)
        if value is not None and LAKE_DAYS.polars_schema[name] == TIMESTAMP
        else value
        for name, value in stored["report"].items()
    }
    seen = {path: Seen(set(types), *totals) for path, (types, *totals) in stored["claims"].items()}
    columns = {path: ClaimColumn(name, kind) for path, (name, kind) in stored["claim_columns"].items()}
    return DayRecord(stored["version"], stored["raw_files"], report, seen, columns)
