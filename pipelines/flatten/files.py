"""The lake's files: one per event date and table, replaced whole. A file's metadata says what it was made from.

`events.parquet` is written last, because its metadata says that the date is clean.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipelines.flatten.claim_lists import CLAIM_RECORD
from pipelines.flatten.day import FlatDay
from pipelines.flatten.lake_tables import LAKE_DAYS
from pipelines.home.files import TEMPORARY_PREFIX, write_parquet
from pipelines.home.layout import Home, partition_folder
from pipelines.home.tables import TIMESTAMP
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS

_METADATA_KEY = "embed_analytics"
_PREFIX = "event_date="
_EVENTS = "events.parquet"

LAKE_RECORDS = pl.Schema(
    {
        **LAKE_DAYS.polars_schema,
        "version": pl.String(),
        "raw_files": pl.List(pl.String()),
        "claims": pl.List(pl.Struct(CLAIM_RECORD)),
        # The digest of the choice of columns that the date was flattened with.
        "claim_choice": pl.String(),
        # Tells one events.parquet from the next: replacing a file gives it another inode.
        "stamp": pl.String(),
    }
)
"""An event date of the lake, from the metadata of its events.parquet."""


def event_dates(table: Path) -> list[str]:
    """The event dates (`YYYY-MM-DD` or `unknown`) that have a folder, sorted."""
    if not table.is_dir():
        return []
    return sorted(entry.name.removeprefix(_PREFIX) for entry in os.scandir(table) if entry.name.startswith(_PREFIX))


def raw_files(home: Home, event_dates: Iterable[str]) -> dict[str, list[str]]:
    """The names of these event dates' raw files, sorted."""
    # Every run looks at every date, and a text costs less than a Path of many parts.
    table = str(home.raw_embed_events)
    return {event_date: _parquet_files(f"{table}/{_PREFIX}{event_date}") for event_date in event_dates}


def _parquet_files(folder: str) -> list[str]:
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(".parquet") and not name.startswith(TEMPORARY_PREFIX))


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
    return partition_folder(home.lake_embed_events, event_date) / _EVENTS


def write_day(home: Home, day: FlatDay, version: str, names: list[str]) -> None:
    """Replaces the event date's files. A crash at any moment leaves the date unchanged or dirty."""
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
        "claims": day.claims,
        "claim_choice": day.claim_choice,
    }
    write_parquet(day.events, events_file(home, day.event_date), {_METADATA_KEY: orjson.dumps(record).decode()})


def read_records(home: Home) -> pl.DataFrame:
    """LAKE_RECORDS of all event dates, sorted by event_date.

    A refresh must not open every file of the lake, when all but a few days are unchanged. So
    `state/lake_records.parquet` caches what the footers say. If it is lost, all footers are read again.
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
    """Each event date that has an events.parquet, with the stamp of that file."""
    stamps: list[tuple[str, str]] = []
    table = str(home.lake_embed_events)
    for event_date in event_dates(home.lake_embed_events):
        try:
            about = Path(f"{table}/{_PREFIX}{event_date}/{_EVENTS}").stat()
        except FileNotFoundError:
            # A crash left the date without its last file, so the date is dirty.
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
    if "claim_choice" not in stored:
        # An older flattening listed claims in another way. Its version already makes the date dirty.
        stored |= {"claims": [], "claim_choice": None}
    report = {
        name: datetime.fromisoformat(value)
        if value is not None and LAKE_DAYS.polars_schema[name] == TIMESTAMP
        else value
        for name, value in stored["report"].items()
    }
    claims = [dict(zip(CLAIM_RECORD, row, strict=True)) for row in stored["claims"]]
    kept = {name: stored[name] for name in ("version", "raw_files", "claim_choice")}
    return {**report, **kept, "claims": claims, "stamp": stamp}
