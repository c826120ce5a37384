"""Compares the lake with raw: every day is flattened again, in memory, and held against its files.

A day that the next refresh redoes anyway (raw has more files now, another version or other settings) is waiting, and so
is one that a running refresh replaces while it is read.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.evidence.findings import Checked, Finding, Since, Waiting
from pipelines.flatten import claim_lists
from pipelines.flatten.claim_columns import ClaimColumn
from pipelines.flatten.claim_lists import CLAIM_RECORD, ClaimsOfDate, replaced
from pipelines.flatten.claims import Seen
from pipelines.flatten.day import ChooseColumns, FlatDay, without_expired
from pipelines.flatten.days import CHUNKS_AT_A_TIME, FlattenOptions, chunks, clean_dates, make_days
from pipelines.flatten.decryption import decryption_of
from pipelines.flatten.files import (
    LAKE_RECORDS,
    day_files,
    day_stamp,
    event_dates,
    raw_files,
    read_day_record,
    stored_inputs,
)
from pipelines.flatten.lake_tables import FOLDER_COLUMN
from pipelines.home.files import TEMPORARY_PREFIX
from pipelines.home.layout import Home, event_date_of
from pipelines.home.sealed import Damage
from pipelines.keys.keyrings import Keyrings

OnProgress = Callable[[int, int], None]

_COLUMNS_SHOWN = 5


@dataclass
class CheckedLake:
    """What the comparison found. `records` are LAKE_RECORDS of the days that could be read."""

    checked: Checked
    records: pl.DataFrame
    unreadable: set[str] = field(default_factory=set[str])
    """The event dates whose files cannot be read whole, or are not all ours."""
    unmade: set[str] = field(default_factory=set[str])
    """The event dates that raw holds and the lake has no files of."""
    stamps: dict[str, str] = field(default_factory=dict[str, str])
    """By event date the day_stamp of its files before they were read."""

    def was_replaced(self, home: Home, date: str) -> bool:
        """Whether a day's files are others now than when they were looked at."""
        return self.stamps.get(date) != day_stamp(home, date)


def check_lake(
    home: Home,
    options: FlattenOptions,
    wrong_in_raw: Collection[str],
    since: Since,
    on_progress: OnProgress = lambda _done, _all: None,
) -> CheckedLake:
    """Compare every day of the lake with raw, except those of `wrong_in_raw`, whose raw is not as it was.

    `since` is when all was known to be as it should. `on_progress` gets the days that were looked at, and all of them.
    """
    return _Check(home, options, wrong_in_raw, since, on_progress).run()


class _Check:
    def __init__(
        self,
        home: Home,
        options: FlattenOptions,
        wrong_in_raw: Collection[str],
        since: Since,
        on_progress: OnProgress,
    ) -> None:
        self._home = home
        self._options = options
        self._keyrings = Keyrings(home)
        self._decryption = decryption_of(self._keyrings)
        self._wrong_in_raw = wrong_in_raw
        self._since = since
        self._on_progress = on_progress
        self._result = CheckedLake(Checked(), LAKE_RECORDS.to_frame())

    def run(self) -> CheckedLake:
        home, checked = self._home, self._result.checked
        tables = (home.raw_embed_events, home.lake_embed_events, home.lake_validation_errors, home.quarantine)
        names = raw_files(home, sorted({date for table in tables for date in event_dates(table)}))
        self._find_strays(names)
        self._result.stamps = {date: day_stamp(home, date) for date in names}
        records = self._read_records(names)
        self._result.records = pl.DataFrame(records, schema=LAKE_RECORDS).sort("event_date")
        choice = self._choice(names)
        todo = self._comparable(names, choice)
        same = self._compare(todo, {record["event_date"]: record for record in records}, choice)
        if names:
            checked.proven.append(f"{same:,} of {len(names):,} days of the lake are what their raw files make.")
        if skipped := sorted(set(names).intersection(self._wrong_in_raw)):
            checked.unproven.append(f"{len(skipped)} days of the lake ({_some(skipped)}): their raw is not as it was.")
        return self._result

    def _find_strays(self, names: Mapping[str, Sequence[str]]) -> None:
        """Files that flattening does not write: readers of the lake take every file that they find."""
        home = self._home
        known = {path for date in names for path in day_files(home, date)}
        for folder in (home.lake, home.quarantine):
            for path in sorted(folder.rglob("*")):
                if path not in known and not path.is_dir() and not path.name.startswith(TEMPORARY_PREFIX):
                    date = event_date_of(path.parent.name)
                    self._result.unreadable |= {date} if date else set()
                    self._add(path, date, "was not written by the flattening", "Remove it, and `publish`.")

    def _read_records(self, names: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Of the days whose files are whole. Reads every byte of the lake."""
        with ThreadPoolExecutor(CHUNKS_AT_A_TIME) as pool:
            found = dict(zip(names, pool.map(self._read_record, names), strict=True))
        records: list[dict[str, Any]] = []
        for date, record in found.items():
            paths = day_files(self._home, date)
            if isinstance(record, dict):
                records.append(record)
            elif not any(path.exists() for path in paths):
                self._result.unmade.add(date)
                self._wait(date, "it has not been flattened yet")
            else:
                self._result.unreadable.add(date)
                stored = stored_inputs(self._home, date)
                was_made_of = None if stored is None else (stored.version, stored.raw_files)
                is_of_date = stored is not None and stored.event_date == date
                if is_of_date and was_made_of != (self._options.version, names[date]):
                    self._wait(date, "raw has changed since")
                else:
                    self._add_of_day(date, record.path, record.reason)
        return records

    def _read_record(self, date: str) -> dict[str, Any] | Damage:
        path = day_files(self._home, date)[0]
        stored = stored_inputs(self._home, date)
        if stored is not None and stored.event_date != date:
            return Damage(path, f"is the file of another day, {stored.event_date}")
        try:
            return read_day_record(self._home, date)
        # A footer may be whole and say anything.
        except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return Damage(path, f"cannot be read ({str(error).splitlines()[0] if str(error) else error!r})")

    def _choice(self, names: Mapping[str, Sequence[str]]) -> dict[str, ClaimColumn]:
        """The claim columns that follow from the claims of all days, as flattening chose them. A day that cannot be
        read is flattened for its own."""
        claims = claim_lists.of_records(self._result.records)
        lost = {date: names[date] for date in sorted(self._result.unreadable - {*self._wrong_in_raw})}

        def choose(first: Mapping[str, Mapping[str, Seen]]) -> dict[str, ClaimColumn]:
            listed = {date: ClaimsOfDate(paths, paths, {}).rows() for date, paths in first.items()}
            return self._options.choose(replaced(claims, listed))

        for together in chunks(self._home, {date: list(of_date) for date, of_date in lost.items()}):
            made = make_days(
                self._home, self._options, self._decryption, {date: lost[date] for date in together}, choose
            )
            claims = replaced(claims, {day.event_date: day.claims for day, _ in made})
        return self._options.choose(claims)

    def _comparable(
        self, names: Mapping[str, Sequence[str]], choice: Mapping[str, ClaimColumn]
    ) -> dict[str, list[str]]:
        """The days that a refresh would leave as they are, with their raw files."""
        records = self._result.records
        clean = clean_dates(self._home, self._options, self._keyrings, records)
        otherwise = claim_lists.chosen_otherwise(records, choice)
        todo: dict[str, list[str]] = {}
        for date, version in records.select("event_date", "version").iter_rows():
            if date in self._wrong_in_raw:
                continue
            if version != self._options.version:
                self._wait(date, "it was flattened by another version, or with other settings")
            elif clean.get(date) != names[date]:
                self._wait(date, "raw or keys have changed since it was flattened, or quarantined rows are to go")
            elif date in otherwise:
                self._wait(date, "it was flattened with other claim columns")
            else:
                todo[date] = list(names[date])
        return todo

    def _compare(
        self, todo: Mapping[str, list[str]], records: Mapping[str, dict[str, Any]], choice: Mapping[str, ClaimColumn]
    ) -> int:
        """How many of these days are what raw makes."""
        same, done = 0, 0

        def compare(together: list[str]) -> list[tuple[str, tuple[Path, str] | None]]:
            made = make_days(
                self._home, self._options, self._decryption, {date: todo[date] for date in together}, lambda _: choice
            )
            return [(day.event_date, self._difference(day, records[day.event_date])) for day, _ in made]

        with ThreadPoolExecutor(CHUNKS_AT_A_TIME) as pool:
            for compared in pool.map(compare, chunks(self._home, todo)):
                for date, difference in compared:
                    same += difference is None
                    if difference is not None:
                        self._add_of_day(date, *difference)
                done += len(compared)
                self._on_progress(done, len(todo))
        return same

    def _make(self, names: Mapping[str, Sequence[str]], choose: ChooseColumns) -> list[tuple[FlatDay, dict[str, str]]]:
        return make_days(self._home, self._options, self._decryption, names, choose)

    def _difference(self, day: FlatDay, record: Mapping[str, Any]) -> tuple[Path, str] | None:
        """The file that is not what raw makes, and how it differs."""
        events, errors, quarantined = day_files(self._home, day.event_date)
        day = without_expired(day, record["quarantine_from"])
        made = {
            events: day.events.drop(FOLDER_COLUMN).cast({pl.Categorical: pl.String}),
            errors: day.errors.drop(FOLDER_COLUMN),
            quarantined: day.quarantine,
        }
        for path, expected in made.items():
            if (difference := _difference(path, expected, is_ordered=path != quarantined)) is not None:
                return path, difference
        claims = [tuple(claim[name] for name in CLAIM_RECORD) for claim in record["claims"]]
        # What a former version did not count is NULL there, and was zero.
        counted = {name: value for name, value in day.report.items() if value != 0 or record[name] is not None}
        if {name: record[name] for name in counted} != counted or claims != day.claims:
            return events, "says other counts or claims of its day than raw does"
        return None

    def _add_of_day(self, date: str, path: Path, reason: str) -> None:
        """A finding, unless the day was replaced while it was read."""
        if self._result.was_replaced(self._home, date):
            self._wait(date, "a running refresh has replaced it meanwhile")
            return
        way_out = f"Remove {_relative(self._home, day_files(self._home, date)[0])} and run `embed-analytics publish`, "
        self._add(path, date, reason, f"{way_out}which makes it again from raw.")

    def _add(self, path: Path, date: str | None, reason: str, way_out: str) -> None:
        finding = Finding("lake", _relative(self._home, path), date, reason, self._since, way_out)
        self._result.checked.findings.append(finding)

    def _wait(self, date: str, reason: str) -> None:
        if date not in self._wrong_in_raw:
            self._result.checked.waiting.append(Waiting("lake", date, reason))


def _difference(path: Path, expected: pl.DataFrame, *, is_ordered: bool) -> str | None:
    """How a file's rows differ from these. The order of quarantined rows says nothing."""
    if not path.exists():
        return None if expected.is_empty() else "is missing"
    try:
        held = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        return f"cannot be read ({str(error).strip().splitlines()[0]})"
    if held.schema != expected.schema:
        return "has other columns than raw makes"
    if not is_ordered:
        held, expected = (each.sort(pl.all(), nulls_last=True) for each in (held, expected))
    if held.equals(expected):
        return None
    if held.height != expected.height:
        return f"has {held.height} rows, and raw makes {expected.height}"
    differ = {name: held[name].ne_missing(expected[name]) for name in held.columns}
    columns = [name for name, rows in differ.items() if rows.any()]
    count = pl.DataFrame([differ[name] for name in columns]).select(pl.any_horizontal(pl.all()).sum()).item()
    return f"has {count} rows that raw makes otherwise ({_some(columns)})"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _COLUMNS_SHOWN
    return ", ".join(names[:_COLUMNS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _relative(home: Home, path: Path) -> str:
    return path.relative_to(home.root).as_posix()
