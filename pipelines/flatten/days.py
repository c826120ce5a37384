"""Raw to lake, for the folders that are dirty: their raw files, the flattening or the choice of claim columns changed.

The choice of claim columns is one for the home. It follows from the claims of all days, which each folder's record
holds, so the lake does not depend on the order in which days were flattened: a folder whose columns are not those of
the choice is flattened again in the same run.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import polars as pl

from pipelines.flatten.claim_columns import ClaimColumn, check_claim_types, choose_columns
from pipelines.flatten.claim_paths import Seen
from pipelines.flatten.day import FlatDay, flatten_folders
from pipelines.flatten.files import DayRecord, folders, raw_files, raw_size, read_raw, read_records, write_day
from pipelines.flatten.schema import CLAIMS_CATALOGUE, LAKE_DAYS
from pipelines.home import Home
from pipelines.settings import Settings

FLATTEN_VERSION = "1"
"""Raised with every change of the code that changes its output; a test holds it to that."""

# Small days are flattened together, up to so many bytes of raw files (some 100,000 events); two such chunks at a time
# keep two cores busy, and memory at that of two chunks, or of two days where days are larger.
_BYTES_TOGETHER = 6_000_000
_CHUNKS_AT_A_TIME = 2


@dataclass(frozen=True)
class FlattenOptions:
    """The settings that change what flattening makes. Raises ConfigurationError for a claim type that is none."""

    claim_column_limit: int = 64
    claim_types: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "claim_types", check_claim_types(self.claim_types))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.embed_analytics_claim_column_limit, settings.embed_analytics_claim_types)

    def choose(self, seen: Mapping[str, Seen]) -> dict[str, ClaimColumn]:
        return choose_columns(seen, self.claim_column_limit, self.claim_types)


@dataclass(frozen=True)
class FlattenReport:
    """What one call flattened. `days` has a LAKE_DAYS row per folder that was redone."""

    days: pl.DataFrame

    @property
    def dates(self) -> list[str]:
        """The folders that were redone, sorted."""
        return self.days["event_date"].to_list()

    @property
    def delivery_count(self) -> int:
        return self._total("delivery_count")

    @property
    def event_count(self) -> int:
        return self._total("event_count")

    @property
    def merged_count(self) -> int:
        return self._total("merged_count")

    @property
    def quarantined_count(self) -> int:
        return self._total("quarantined_count")

    @property
    def field_quarantined_count(self) -> int:
        return self._total("field_quarantined_count")

    @property
    def conflict_count(self) -> int:
        return self._total("conflict_count")

    @property
    def validation_error_count(self) -> int:
        return self._total("validation_error_count")

    def _total(self, column: str) -> int:
        return int(self.days[column].sum())


def flatten_days(
    home: Home,
    options: FlattenOptions,
    *,
    redo: Collection[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> FlattenReport:
    """Flattens the dirty folders and those of `redo` (dates as `YYYY-MM-DD`, or `unknown`), each replaced atomically.

    A date of `redo` without raw files gets empty lake files. `on_progress` is told how many folders are done and how
    many there are.
    """
    records = dict(read_records(home))
    names = {folder: raw_files(home, folder) for folder in {*folders(home.raw_embed_events), *records, *redo}}
    todo = {folder for folder in names if folder in redo or _is_dirty(records.get(folder), names[folder])}
    redone: set[str] = set()
    while True:
        for day in _flatten(home, options, records, {folder: names[folder] for folder in sorted(todo)}):
            records[day.folder] = DayRecord(FLATTEN_VERSION, names[day.folder], day.report, day.seen, day.columns)
            redone.add(day.folder)
            todo.discard(day.folder)
            if on_progress:
                on_progress(len(redone), len(redone | todo))
        # Days that were flattened with another choice. What was seen does not change any more, so their round is the
        # last.
        chosen = options.choose(_all_seen(records))
        todo = {folder for folder, record in records.items() if record.columns != _restricted(chosen, record.seen)}
        if not todo:
            break
    return FlattenReport(_reports(records[folder] for folder in sorted(redone)))


def day_reports(home: Home) -> pl.DataFrame:
    """LAKE_DAYS: a row per lake folder, from the files' metadata."""
    return _reports(record for _, record in sorted(read_records(home).items()))


def claims_catalogue(home: Home) -> pl.DataFrame:
    """CLAIMS_CATALOGUE: a row per claim path of any day, from the files' metadata, sorted by path."""
    records = read_records(home)
    total = sum(record.report["event_count"] for record in records.values())
    columns = {path: column.name for record in records.values() for path, column in record.columns.items()}
    rows = [
        {
            "path": path,
            "column_name": columns.get(path),
            "is_column": path in columns,
            "json_types": ",".join(sorted(seen.types)),
            "event_count": seen.event_count,
            "coverage": seen.event_count / total,
            "first_seen_at": seen.first,
            "last_seen_at": seen.last,
        }
        for path, seen in sorted(_all_seen(records).items())
    ]
    return pl.DataFrame(rows, schema=CLAIMS_CATALOGUE.polars_schema)


def _flatten(
    home: Home, options: FlattenOptions, records: Mapping[str, DayRecord], todo: Mapping[str, list[str]]
) -> Iterable[FlatDay]:
    """Flattens and writes folders in the order given, with the choice that is known by then."""

    def choose(seen: Mapping[str, Mapping[str, Seen]]) -> dict[str, ClaimColumn]:
        others = [record.seen for folder, record in dict(records).items() if folder not in seen]
        return options.choose(_total((*others, *seen.values())))

    def flatten(together: list[str]) -> list[FlatDay]:
        days = flatten_folders({folder: read_raw(home, folder, todo[folder]) for folder in together}, choose)
        for day in days:
            write_day(home, day, FLATTEN_VERSION, todo[day.folder])
        return days

    with ThreadPoolExecutor(_CHUNKS_AT_A_TIME) as pool:
        for days in pool.map(flatten, _chunks(home, todo)):
            yield from days


def _chunks(home: Home, todo: Mapping[str, list[str]]) -> list[list[str]]:
    """Neighbouring folders to be flattened together: few enough bytes of raw, or one folder that has more."""
    chunks: list[list[str]] = []
    left = 0
    for folder, names in todo.items():
        size = raw_size(home, folder, names)
        if size > left or not chunks:
            chunks.append([])
            left = _BYTES_TOGETHER
        chunks[-1].append(folder)
        left -= size
    return chunks


def _is_dirty(record: DayRecord | None, names: list[str]) -> bool:
    return record is None or record.version != FLATTEN_VERSION or record.raw_files != names


def _all_seen(records: Mapping[str, DayRecord]) -> dict[str, Seen]:
    return _total(record.seen for record in records.values())


def _total(parts: Iterable[Mapping[str, Seen]]) -> dict[str, Seen]:
    total: dict[str, Seen] = {}
    for seen in parts:
        for path, known in seen.items():
            total.setdefault(path, Seen()).add(known.types, known.event_count, known.first, known.last)
    return total


def _restricted(chosen: Mapping[str, ClaimColumn], seen: Mapping[str, Seen]) -> dict[str, ClaimColumn]:
    return {path: column for path, column in chosen.items() if path in seen}


def _reports(records: Iterable[DayRecord]) -> pl.DataFrame:
    return pl.DataFrame([record.report for record in records], schema=LAKE_DAYS.polars_schema)
