"""The lake's files: one per event date and table, replaced whole; what a date was made from is in the file's metadata.

`events.parquet` is written last, because its metadata is what says that the date is clean.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipelines.flatten.day import FlatDay
from pipelines.flatten.lake_tables import LAKE_DAYS
from pipelines.home.files import TEMPORARY_PREFIX, write_parquet
from pipelines.home.layout import Home, partition_folder
from pipelines.home.tables import TIMESTAMP
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS

_METADATA_KEY = "embed_analytics"
_PREFIX = "event_date="


CLAIM_RECORD = pl.Schema(
    {
        "path": pl.String(),
        "types": pl.List(pl.String()),
        "event_count": pl.Int64(),
        "first": pl.Int64(),
        "last": pl.Int64(),
        "column_name": pl.String(),
        "column_type": pl.String(),
    }
)
"""A claim path of an event date: what was seen of it (see claims.Seen), and its claim column where it has one."""

LAKE_RECORDS = pl.Schema(
    {
        **LAKE_DAYS.polars_schema,
        "version": pl.String(),
        "raw_files": pl.List(pl.String()),
        "claims": pl.List(pl.Struct(CLAIM_RECORD)),
        # Which file said so: a file is replaced whole, by another inode.
        "stamp": pl.String(),
    }
)
"""An event date of the lake: what the metadata of its events.parquet says."""


def event_dates(table: Path) -> list[str]:
    """The event dates (`YYYY-MM-DD` or `unknown`) that have a folder, sorted."""
    if not table.is_dir():
        return []
    return sorted(entry.name.removeprefix(_PREFIX) for entry in os.scandir(table) if entry.name.startswith(_PREFIX))


def raw_files(home: Home, event_date: str) -> list[str]:
    """The names of an event date's raw files, sorted."""
    path = partition_folder(home.raw_embed_events, event_date)
    if not path.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(path)
        if entry.name.endswith(".parquet") and not entry.name.startswith(TEMPORARY_PREFIX)
    )


def raw_size(home: Home, event_date: str, names: Iterable[str]) -> int:
    """The bytes of an event date's raw files."""
    return sum((partition_folder(home.raw_embed_events, event_date) / name).stat().st_size for name in names)


def read_raw(home: Home, event_date: str, names: Iterable[str]) -> pl.DataFrame:
    """The rows (RAW_EMBED_EVENTS) of an event date's raw files."""
    paths = [partition_folder(home.raw_embed_events, event_date) / name for name in names]
    if not paths:
        return pl.DataFrame(schema=RAW_EMBED_EVENTS.polars_schema)
    return pl.read_parquet(
        paths, schema=RAW_EMBED_EVENTS.polars_schema, hive_partitioning=False, missing_columns="insert", glob=False
    )


def events_file(home: Home, event_date: str) -> Path:
    return partition_folder(home.lake_embed_events, event_date) / "events.parquet"


def write_day(home: Home, day: FlatDay, version: str, names: list[str]) -> None:
    """Replaces the event date's files; a crash at any moment leaves it as it was, or dirty."""
    quarantine_file = partition_folder(home.quarantine, day.event_date) / "quarantine.parquet"
    for table in (home.quarantine, home.lake_validation_errors, home.lake_embed_events):
        for left_over in partition_folder(table, day.event_date).glob(f"{TEMPORARY_PREFIX}*"):
            left_over.unlink()
    if day.quarantine.height:
        write_parquet(day.quarantine, quarantine_file)
    else:
        quarantine_file.unlink(missing_ok=True)
    write_parquet(day.errors, partition_folder(home.lake_validation_errors, day.event_date) / "errors.parquet")
    record = {
        "version": version,
        "raw_files": names,
        "report": day.report,
        "claims": {
            path: [sorted(seen.types), seen.event_count, seen.first, seen.last]
            for path, seen in sorted(day.seen.items())
        },
        "claim_columns": {path: [column.name, column.type] for path, column in sorted(day.columns.items())},
    }
    write_parquet(day.events, events_file(home, day.event_date), {_METADATA_KEY: orjson.dumps(record).decode()})


def read_records(home: Home) -> pl.DataFrame:
    """LAKE_RECORDS of all event dates, sorted by event_date.

    A file's footer is opened only where `state/lake_records.parquet` does not have it yet: a refresh must not open the
    lake's every file to learn what all but a few days said before. The state can be lost; then they are read again.
    """
    kept = home.state / "lake_records.parquet"
    found = pl.DataFrame(_stamps(home), schema=["event_date", "stamp"], orient="row", schema_overrides=LAKE_RECORDS)
    held = _held(kept)
    known = held.join(found, on=["event_date", "stamp"], how="semi")
    new = found.join(held, on=["event_date", "stamp"], how="anti")
    if new.is_empty() and known.height == held.height:
        return held
    read = [_record(events_file(home, event_date), stamp) for event_date, stamp in new.iter_rows()]
    records = pl.concat([known, pl.DataFrame(read, schema=LAKE_RECORDS)]).sort("event_date")
    write_parquet(records, kept)
    return records


def _stamps(home: Home) -> list[tuple[str, str]]:
    """Each event date that has its events.parquet, with what tells one such file from another."""
    stamps: list[tuple[str, str]] = []
    for event_date in event_dates(home.lake_embed_events):
        try:
            about = events_file(home, event_date).stat()
        except FileNotFoundError:
            # A crash left the date without its last file: it is dirty.
            continue
        stamps.append((event_date, f"{about.st_ino}-{about.st_mtime_ns}-{about.st_size}"))
    return stamps


def _held(path: Path) -> pl.DataFrame:
    try:
        held = pl.read_parquet(path, glob=False)
    except (FileNotFoundError, pl.exceptions.ComputeError):
        return LAKE_RECORDS.to_frame()
    return held if held.schema == LAKE_RECORDS else LAKE_RECORDS.to_frame()


def _record(path: Path, stamp: str) -> dict[str, Any]:
    """A row of LAKE_RECORDS, from a file's metadata."""
    stored = orjson.loads(pl.read_parquet_metadata(path)[_METADATA_KEY])
    report = {
        name: datetime.fromisoformat(value)
        if value is not None and LAKE_DAYS.polars_schema[name] == TIMESTAMP
        else value
        for name, value in stored["report"].items()
    }
    columns = stored["claim_columns"]
    claims = [
        dict(zip(CLAIM_RECORD, (path, *seen, *columns.get(path, (None, None))), strict=True))
        for path, seen in stored["claims"].items()
    ]
    return {**report, "version": stored["version"], "raw_files": stored["raw_files"], "claims": claims, "stamp": stamp}
