"""Flattens the dirty event dates: those whose raw files, flattening or choice of claim columns changed, or whose lake
files are not whole; and where keys of encrypted claims were lost or came back, those that have any.

The home has one choice of claim columns. It follows from the claims of all dates, which the lake's records hold. A date
whose columns are not those of the choice is flattened again in the same run, so the lake does not depend on the order
in which dates were flattened.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import polars as pl

from pipelines.flatten import claim_lists
from pipelines.flatten.claim_columns import ClaimColumn, check_claim_types
from pipelines.flatten.claim_lists import ClaimsOfDate, replaced
from pipelines.flatten.claims import Seen
from pipelines.flatten.day import ChooseColumns, FlatDay, flatten_event_dates, without_expired
from pipelines.flatten.decryption import Decryption, decryption_of
from pipelines.flatten.files import (
    LakeRecords,
    damaged_raw_files,
    event_dates,
    raw_file_state,
    raw_files,
    raw_size,
    read_raw,
    read_records,
    write_day,
)
from pipelines.flatten.lake_tables import LAKE_DAYS, LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS, QUARANTINE
from pipelines.home.layout import Home
from pipelines.home.sealed import Damage
from pipelines.home.times import start_of_kept
from pipelines.keys.keyrings import Keyrings
from pipelines.settings import Settings, default_of

FLATTEN_VERSION = "5"
"""Raise this with every change to the code that changes its output. New columns need no raise. A test holds this."""

# Small days are flattened together, up to this many bytes of raw files (some 100,000 events). Two such chunks at a time
# keep two cores busy, and bound memory to two chunks, or to two days where days are larger.
_BYTES_TOGETHER = 6_000_000
CHUNKS_AT_A_TIME = 2

# Of LAKE_RECORDS: how many quarantined rows of a date have been removed.
_EXPIRED = pl.sum_horizontal("expired_quarantined_count", "expired_field_quarantined_count")

_TABLES = (LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS, QUARANTINE)


@dataclass(frozen=True)
class FlattenOptions:
    """The settings that change the lake. Raises ConfigurationError for a type that claims cannot have."""

    claim_column_limit: int = default_of("embed_analytics_claim_column_limit")
    claim_types: Mapping[str, str] = field(default_factory=dict[str, str])
    column_key_limit: int = default_of("embed_analytics_column_key_limit")
    quarantine_from: datetime | None = None
    """Quarantined rows that landed earlier (UTC) go."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "claim_types", check_claim_types(self.claim_types))

    @classmethod
    def from_settings(cls, settings: Settings, now: datetime) -> Self:
        """The options at a time (UTC, without a zone)."""
        return cls(
            settings.embed_analytics_claim_column_limit,
            settings.embed_analytics_claim_types,
            settings.embed_analytics_column_key_limit,
            start_of_kept(settings.embed_analytics_keep_quarantine_days, now),
        )

    @property
    def claim_list_length(self) -> int:
        return claim_lists.list_length(self.claim_column_limit)

    @property
    def version(self) -> str:
        """The version in a file's metadata. It covers all but the choice of claim columns and what has expired."""
        return f"{flatten_version()}-{self.claim_list_length}-{self.column_key_limit}"

    def choose(self, claims: pl.DataFrame) -> dict[str, ClaimColumn]:
        return claim_lists.choose(claims, self.claim_column_limit, self.claim_types)


@dataclass(frozen=True)
class FlattenReport:
    """What one call flattened. `days` has a LAKE_DAYS row for each event date that was flattened."""

    days: pl.DataFrame
    damages: Sequence[Damage] = ()
    """Derived files that were missing or damaged, and have been made again."""
    expired_count: int = 0
    """Quarantined rows that have been removed."""

    def say_made_again(self, say: Callable[[str], None]) -> None:
        """A line for each of `damages`."""
        for damage in self.damages:
            say(f"{damage}: it has been made again.")

    def say_expired(self, say: Callable[[str], None]) -> None:
        """A line where quarantined rows have been removed."""
        if self.expired_count:
            say(
                f"{self.expired_count} rows of the quarantine were older than EMBED_ANALYTICS_KEEP_QUARANTINE_DAYS and "
                "have been removed."
            )

    @property
    def dates(self) -> list[str]:
        """The event dates that were flattened, sorted."""
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
    looks_at_all: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> FlattenReport:
    """Flattens the dirty event dates and those of `redo` (`YYYY-MM-DD` or `unknown`), each replaced atomically.

    A date in `redo` without raw files gets empty lake files. A date whose lake files are missing or damaged is dirty;
    A date with encrypted claims is dirty after keys were lost, erased or came back.
    `looks_at_all` reads every byte of the lake to find damage. A raw file that cannot be read whole is left out. Its
    date is dirty again once the file changes. `on_progress` gets the number of dates done and the number of all.
    """
    with closing(Keyrings(home)) as keyrings:
        return _flatten_dirty(home, options, keyrings, redo=redo, looks_at_all=looks_at_all, on_progress=on_progress)


def _flatten_dirty(
    home: Home,
    options: FlattenOptions,
    keyrings: Keyrings,
    *,
    redo: Collection[str],
    looks_at_all: bool,
    on_progress: Callable[[int, int], None] | None,
) -> FlattenReport:
    held = read_records(home, looks_at_all=looks_at_all)
    records = held.records
    decryption = decryption_of(keyrings)
    # As they are now: what becomes of keys meanwhile, the next call sees.
    keys = keyrings.summaries()
    clean = clean_dates(home, options, keyrings, records.filter(pl.col("event_date").is_in(list(redo)).not_()))
    names = raw_files(home, {*event_dates(home.raw_embed_events), *records["event_date"], *held.damages, *redo})
    todo = {event_date for event_date in names if clean.get(event_date) != names[event_date]}
    redone: set[str] = set()
    while True:
        if todo:
            for days in _flatten(
                home, options, decryption, records, {event_date: names[event_date] for event_date in sorted(todo)}
            ):
                for day in days:
                    redone.add(day.event_date)
                    if on_progress:
                        on_progress(len(redone), len(redone | todo))
            records = read_records(home, written=todo).records
        # Days that were flattened with another choice. This round sees no new claims, so it is the last.
        todo = claim_lists.chosen_otherwise(records, options.choose(claim_lists.of_records(records)))
        if not todo:
            break
    expired = _expired_count(records) - _expired_count(held.records)
    if keys:
        keyrings.remember(keys)
    return FlattenReport(
        records.select(LAKE_DAYS.names).filter(pl.col("event_date").is_in(list(redone))),
        _damages(held),
        max(0, expired),
    )


def _expired_count(records: pl.DataFrame) -> int:
    return int(records.select(_EXPIRED.sum()).item())


def _expires_otherwise(limit: datetime | None) -> pl.Expr:
    """Of LAKE_RECORDS, whether a date's quarantine holds rows that landed before the limit, or may lack one that did
    not: the setting was changed since."""
    if limit is None:
        return _EXPIRED > 0
    held = pl.sum_horizontal("quarantined_count", "field_quarantined_count") - _EXPIRED
    # A former version did not note when the first one landed.
    first_at = pl.coalesce("quarantined_at", "first_landed_at")
    lacks = (_EXPIRED > 0) & (pl.col("quarantine_from") > limit)
    return lacks.fill_null(value=False) | ((held > 0) & (first_at < limit)).fill_null(value=False)


def clean_dates(home: Home, options: FlattenOptions, keyrings: Keyrings, records: pl.DataFrame) -> dict[str, list[str]]:
    """By event date the raw files that it was flattened from, without the dates that would be flattened otherwise now,
    whatever raw holds, and those where a damaged raw file has changed since."""
    is_current = (pl.col("version") == options.version) & _expires_otherwise(options.quarantine_from).not_()
    if keyrings.named and keyrings.have_changed():
        is_current &= pl.col("encrypted_count") == 0
    current = records.filter(is_current).select("event_date", "raw_files", "damaged_raw_files")
    return {
        event_date: names
        for event_date, names, damaged in current.iter_rows()
        if all(raw_file_state(home, event_date, file["name"]) == file["state"] for file in damaged)
    }


def _damages(held: LakeRecords) -> list[Damage]:
    cache = [] if held.cache_damage is None else [held.cache_damage]
    return [*cache, *(held.damages[event_date] for event_date in sorted(held.damages))]


def catalogues(home: Home) -> tuple[pl.DataFrame, pl.DataFrame]:
    """LAKE_DAYS, sorted by event date, and CLAIMS_CATALOGUE. Both come from the metadata of the lake's files."""
    records = read_records(home).records
    return records.select(LAKE_DAYS.names), claim_lists.catalogue(records)


def _flatten(
    home: Home,
    options: FlattenOptions,
    decryption: Decryption | None,
    records: pl.DataFrame,
    todo: Mapping[str, list[str]],
) -> Iterator[list[FlatDay]]:
    """Flattens and writes event dates in the order given, each with the choice known so far."""
    claims = claim_lists.of_records(records)

    def choose(first: Mapping[str, Mapping[str, Seen]]) -> dict[str, ClaimColumn]:
        listed = {event_date: ClaimsOfDate(paths, paths, {}).rows() for event_date, paths in first.items()}
        return options.choose(replaced(claims, listed))

    def flatten(together: list[str]) -> list[FlatDay]:
        days = make_days(home, options, decryption, {event_date: todo[event_date] for event_date in together}, choose)
        for day, damaged in days:
            write_day(
                home,
                without_expired(day, options.quarantine_from),
                options.version,
                todo[day.event_date],
                damaged,
                options.quarantine_from,
            )
        return [day for day, _ in days]

    with ThreadPoolExecutor(CHUNKS_AT_A_TIME) as pool:
        for days in pool.map(flatten, chunks(home, todo)):
            claims = replaced(claims, {day.event_date: day.claims for day in days})
            yield days


def make_days(
    home: Home,
    options: FlattenOptions,
    decryption: Decryption | None,
    names: Mapping[str, Sequence[str]],
    choose: ChooseColumns,
) -> list[tuple[FlatDay, dict[str, str]]]:
    """Flattens event dates from these raw files, in memory, with all that is quarantined. Each comes with those of its
    files that are damaged and were left out, and their raw_file_state."""
    damaged = {
        event_date: {
            name: raw_file_state(home, event_date, name) for name in damaged_raw_files(home, event_date, of_date)
        }
        for event_date, of_date in names.items()
    }
    days = flatten_event_dates(
        {
            event_date: read_raw(home, event_date, [name for name in of_date if name not in damaged[event_date]])
            for event_date, of_date in names.items()
        },
        choose,
        claim_list_length=options.claim_list_length,
        column_key_limit=options.column_key_limit,
        decryption=decryption,
    )
    return [(day, damaged[day.event_date]) for day in days]


def flatten_version() -> str:
    """The flattening's version in a file's metadata: the version of the code, and a digest of the columns."""
    columns = [(column.name, str(column.dtype)) for table in _TABLES for column in table.columns]
    return f"{FLATTEN_VERSION}-{hashlib.blake2b(repr(columns).encode(), digest_size=4).hexdigest()}"


def chunks(home: Home, todo: Mapping[str, list[str]]) -> list[list[str]]:
    """Groups of neighbouring event dates to flatten together: _BYTES_TOGETHER of raw, or one date that has more."""
    made: list[list[str]] = []
    left = 0
    for event_date, names in todo.items():
        size = raw_size(home, event_date, names)
        if size > left or not made:
            made.append([])
            left = _BYTES_TOGETHER
        made[-1].append(event_date)
        left -= size
    return made
