"""The lake's files: one per event date and table, replaced whole. A file's metadata says what it was made from.

`events.parquet` is written last, because its metadata says that the date is clean. A date stays clean only while its
files are whole and have as many rows as this metadata says.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from pipelines.flatten.claim_lists import CLAIM_RECORD
from pipelines.flatten.day import FlatDay
from pipelines.flatten.lake_tables import FOLDER_COLUMN, LAKE_DAYS
from pipelines.home.files import TEMPORARY_PREFIX, file_state, write_parquet
from pipelines.home.layout import NO_DATE, UNKNOWN_DATE, Home, event_date_of, lake_folder, partition_folder
from pipelines.home.sealed import Damage, find_damage
from pipelines.home.tables import TIMESTAMP
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS

_METADATA_KEY = "embed_analytics"
_PREFIX = "event_date="
_EVENTS, _ERRORS, _QUARANTINE = "events.parquet", "errors.parquet", "quarantine.parquet"

LAKE_RECORDS = pl.Schema(
    {
        **LAKE_DAYS.polars_schema,
        "version": pl.String(),
        "raw_files": pl.List(pl.String()),
        # Those of them that could not be read, each with its state then: a mended one makes the date dirty.
        "damaged_raw_files": pl.List(pl.Struct({"name": pl.String(), "state": pl.String()})),
        "claims": pl.List(pl.Struct(CLAIM_RECORD)),
        # The digest of the choice of columns that the date was flattened with.
        "claim_choice": pl.String(),
        # The time before which quarantined rows were removed; NULL where none was. And that of the first one left.
        "quarantine_from": TIMESTAMP,
        "quarantined_at": TIMESTAMP,
        # Tells the date's files from those that replace them: a new file has another inode.
        "stamp": pl.String(),
    }
)
"""An event date of the lake, from the metadata of its events.parquet."""


@dataclass(frozen=True)
class LakeRecords:
    """LAKE_RECORDS of the event dates whose files are whole, sorted; by event date what is wrong with the others."""

    records: pl.DataFrame
    damages: Mapping[str, Damage]
    cache_damage: Damage | None = None
    """What was wrong with the file that keeps the records; it has been made again."""


def event_dates(table: Path) -> list[str]:
    """The event dates (`YYYY-MM-DD` or `unknown`) that have a folder, sorted."""
    if not table.is_dir():
        return []
    return sorted({date for entry in os.scandir(table) if (date := event_date_of(entry.name)) is not None})


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


def raw_file_state(home: Home, event_date: str, name: str) -> str:
    """What tells a raw file from what was put in its place, or written into it."""
    return file_state(partition_folder(home.raw_embed_events, event_date) / name)


def damaged_raw_files(home: Home, event_date: str, names: Iterable[str]) -> dict[str, Damage]:
    """By name what is wrong with those of an event date's raw files that cannot be read whole. Reads all of them."""
    folder = partition_folder(home.raw_embed_events, event_date)
    return {name: damage for name in names if (damage := find_damage(folder / name)) is not None}


def read_raw(home: Home, event_date: str, names: Iterable[str]) -> pl.DataFrame:
    """The rows (RAW_EMBED_EVENTS) of an event date's raw files."""
    paths = [partition_folder(home.raw_embed_events, event_date) / name for name in names]
    if not paths:
        return pl.DataFrame(schema=RAW_EMBED_EVENTS.polars_schema)
    return pl.read_parquet(
        paths, schema=RAW_EMBED_EVENTS.polars_schema, hive_partitioning=False, missing_columns="insert", glob=False
    )


def events_file(home: Home, event_date: str) -> Path:
    return lake_folder(home.lake_embed_events, event_date) / _EVENTS


def _errors_file(home: Home, event_date: str) -> Path:
    return lake_folder(home.lake_validation_errors, event_date) / _ERRORS


def _quarantine_file(home: Home, event_date: str) -> Path:
    return partition_folder(home.quarantine, event_date) / _QUARANTINE


def write_day(
    home: Home,
    day: FlatDay,
    version: str,
    names: list[str],
    damaged: Mapping[str, str],
    quarantine_from: datetime | None = None,
) -> None:
    """Replaces the event date's files. A crash at any moment leaves the date unchanged or dirty.

    `names` are its raw files. `damaged` are those of them that were left out, each with its raw_file_state. The rows
    that were quarantined before `quarantine_from` are no longer in `day`.
    """
    quarantine_file = _quarantine_file(home, day.event_date)
    errors_file = _errors_file(home, day.event_date)
    for path in (quarantine_file, errors_file, events_file(home, day.event_date)):
        for left_over in path.parent.glob(f"{TEMPORARY_PREFIX}*"):
            left_over.unlink()
    if day.event_date == UNKNOWN_DATE:
        # As former versions called its folder, which readers took for the event date of all others.
        for table in (home.lake_validation_errors, home.lake_embed_events):
            shutil.rmtree(partition_folder(table, UNKNOWN_DATE), ignore_errors=True)
    if day.quarantine.height:
        write_parquet(day.quarantine, quarantine_file)
    else:
        quarantine_file.unlink(missing_ok=True)
    write_parquet(day.errors.drop(FOLDER_COLUMN), errors_file)
    record = {
        "version": version,
        "raw_files": names,
        "damaged_raw_files": damaged,
        "report": day.report,
        "claims": day.claims,
        "claim_choice": day.claim_choice,
        "quarantine_from": quarantine_from if _expired_count(day.report) else None,
        "quarantined_at": day.quarantine["fetched_at"].min(),
    }
    metadata = {_METADATA_KEY: orjson.dumps(record).decode()}
    write_parquet(day.events.drop(FOLDER_COLUMN), events_file(home, day.event_date), metadata)


def read_records(home: Home, *, written: Collection[str] = (), looks_at_all: bool = False) -> LakeRecords:
    """What the lake's files say of themselves, and which of them are missing or damaged.

    A refresh must not open every file of the lake, when all but a few days are unchanged. So
    `state/lake_records.parquet` caches what the footers say. Files that it does not know are read whole, except those
    of dates just `written`. `looks_at_all` reads every file whole, because a disk may change a byte and no time stamp.
    If the cache is lost, all files are read again.
    """
    cache = home.state / "lake_records.parquet"
    dates = {date for table in _tables(home) for date in event_dates(table)}
    stamp = _stamps(home)
    found = pl.DataFrame(
        [(date, stamp(date)) for date in sorted(dates)],
        schema=["event_date", "stamp"],
        orient="row",
        schema_overrides=LAKE_RECORDS,
    )
    held, cache_damage = _held(cache) if dates else (LAKE_RECORDS.to_frame(), None)
    known = LAKE_RECORDS.to_frame() if looks_at_all else held.join(found, on=["event_date", "stamp"], how="semi")
    new = found.join(known, on=["event_date", "stamp"], how="anti")
    if new.is_empty() and known.height == held.height and cache_damage is None:
        return LakeRecords(held, {})
    damages: dict[str, Damage] = {}
    read: list[dict[str, Any]] = []
    for event_date, stamp in new.iter_rows():
        record = _record(home, event_date, stamp, is_written=event_date in written)
        if isinstance(record, Damage):
            damages[event_date] = record
        else:
            read.append(record)
    for event_date, names in raw_files(home, set(held["event_date"]) - dates).items():
        if names:
            damages[event_date] = Damage(events_file(home, event_date), "is missing")
    records = pl.concat([known, pl.DataFrame(read, schema=LAKE_RECORDS)]).sort("event_date")
    write_parquet(records, cache)
    return LakeRecords(records, damages, cache_damage)


def day_files(home: Home, event_date: str) -> tuple[Path, Path, Path]:
    """The lake's files of an event date: events, validation errors and quarantine."""
    return events_file(home, event_date), _errors_file(home, event_date), _quarantine_file(home, event_date)


def day_stamp(home: Home, event_date: str) -> str:
    """What tells an event date's files from those that replace them."""
    return _stamps(home)(event_date)


def read_day_record(home: Home, event_date: str) -> dict[str, Any] | Damage:
    """A row of LAKE_RECORDS of one event date, from its files, every byte of which is read; or what is wrong with them.
    Nothing is taken from a cache, and nothing is written."""
    return _record(home, event_date, day_stamp(home, event_date), is_written=False)


class StoredInputs(NamedTuple):
    """What a day's events file says it was made of."""

    event_date: str
    version: str
    raw_files: list[str]


def stored_inputs(home: Home, event_date: str) -> StoredInputs | None:
    """What the events file in the place of an event date was made of. None where it says nothing that can be read."""
    try:
        stored = orjson.loads(pl.read_parquet_metadata(events_file(home, event_date))[_METADATA_KEY])
        return StoredInputs(stored["report"]["event_date"], stored["version"], stored["raw_files"])
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, KeyError, TypeError):
        return None


def _tables(home: Home) -> tuple[Path, Path, Path]:
    return home.lake_embed_events, home.lake_validation_errors, home.quarantine


def _stamps(home: Home) -> Callable[[str], str]:
    """What tells an event date's files from others, by event date.

    Every date's files are looked at in every run. A folder's own time would not tell of a file that was cut or changed
    where it is, and two changes within one tick of the clock give a folder the same time.
    """
    # As texts, which cost a fraction of a Path of many parts.
    events, errors, quarantine = (f"{table}/{_PREFIX}" for table in _tables(home))

    def stamp(event_date: str) -> str:
        folder = NO_DATE if event_date == UNKNOWN_DATE else event_date
        return " ".join(
            [
                file_state(f"{events}{folder}/{_EVENTS}"),
                file_state(f"{errors}{folder}/{_ERRORS}"),
                file_state(f"{quarantine}{event_date}/{_QUARANTINE}"),
            ]
        )

    return stamp


def _held(path: Path) -> tuple[pl.DataFrame, Damage | None]:
    """The records that the state keeps: none where it was damaged, or written by another version."""
    if (damage := find_damage(path)) is not None:
        return LAKE_RECORDS.to_frame(), damage
    held = pl.read_parquet(path, glob=False)
    return (held if held.schema == LAKE_RECORDS else LAKE_RECORDS.to_frame()), None


def _record(home: Home, event_date: str, stamp: str, *, is_written: bool) -> dict[str, Any] | Damage:
    """A row of LAKE_RECORDS, from the metadata of a date's files; what is wrong with them where they are not whole."""
    path, errors, quarantined = (
        events_file(home, event_date),
        _errors_file(home, event_date),
        _quarantine_file(home, event_date),
    )
    if not is_written:
        present = [path, errors, *([quarantined] if quarantined.exists() else [])]
        if (damage := next(filter(None, map(find_damage, present)), None)) is not None:
            return damage
    metadata = pl.read_parquet_metadata(path)
    if _METADATA_KEY not in metadata:
        return Damage(path, "was not written by the flattening")
    stored = orjson.loads(metadata[_METADATA_KEY])
    counts = stored["report"]
    expected = {
        path: counts["event_count"],
        errors: counts["validation_error_count"],
        quarantined: counts["quarantined_count"] + counts["field_quarantined_count"] - _expired_count(counts),
    }
    for file, count in expected.items():
        if _row_count(file) != count:
            is_there = file.exists()
            return Damage(file, f"does not have the {count} rows of its event date" if is_there else "is missing")
    if "claim_choice" not in stored:
        # An older flattening listed claims in another way. Its version already makes the date dirty.
        stored |= {"claims": [], "claim_choice": None}
    # One from before claims could be encrypted does not say so.
    counts = {"encrypted_count": 0, "missing_key_count": 0} | counts
    report = {
        name: _time(value) if LAKE_DAYS.polars_schema[name] == TIMESTAMP else value for name, value in counts.items()
    }
    claims = [dict(zip(CLAIM_RECORD, row, strict=True)) for row in stored["claims"]]
    kept = {name: stored[name] for name in ("version", "raw_files", "claim_choice")}
    damaged = [{"name": name, "state": state} for name, state in stored.get("damaged_raw_files", {}).items()]
    expiry = {name: _time(stored.get(name)) for name in ("quarantine_from", "quarantined_at")}
    return {**report, **kept, **expiry, "damaged_raw_files": damaged, "claims": claims, "stamp": stamp}


def _expired_count(report: Mapping[str, Any]) -> int:
    """How many quarantined rows of a date have been removed. A former version removed none."""
    names = ("expired_quarantined_count", "expired_field_quarantined_count")
    return sum(report.get(name, 0) for name in names)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _row_count(path: Path) -> int:
    """The rows of a file of the lake; a quarantine without rows has no file."""
    return pl.scan_parquet(path, glob=False).select(pl.len()).collect().item() if path.exists() else 0
