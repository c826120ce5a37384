"""Turns raw rows into the two lake tables, by event date. It is a pure function of the rows, the choice of columns
and the keys of encrypted claims.

An event date is the value of the `event_date=` folder: a date as `YYYY-MM-DD`, or `unknown`. Several dates are
flattened together, because one pass over several small ones costs what a pass over one does. Except for the choice of
columns, the result for a date does not depend on the others. In frames of several dates, `date_index` says which folder
a row is from; the column `event_date` is the date of the event's own time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from typing import Any

import polars as pl

from pipelines.flatten.claim_columns import ClaimColumn
from pipelines.flatten.claim_lists import ClaimRow, ClaimsOfDate, choice_digest, first_paths
from pipelines.flatten.claims import Claims, EncryptedCounts, Seen, read_claims
from pipelines.flatten.decryption import Decryption
from pipelines.flatten.event_data import explode_counts, read_data
from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS, QUARANTINE
from pipelines.flatten.merge import merge
from pipelines.flatten.quarantine import ORIGIN, quarantine
from pipelines.flatten.read_deliveries import Issue, read_deliveries
from pipelines.oneschema.json_text import dumps

ChooseColumns = Callable[[Mapping[str, Mapping[str, Seen]]], Mapping[str, ClaimColumn]]
"""Takes the first claim paths of event dates, by date and path. Returns the claim columns by path."""


@dataclass(frozen=True)
class FlatDay:
    """The result of flattening one event date."""

    event_date: str
    events: pl.DataFrame
    """LAKE_EMBED_EVENTS and the claim columns, sorted by embed_id, occurred_at, event_id, event_uuid. Texts of claims
    are categories, for writing them: a session's events share theirs."""
    errors: pl.DataFrame
    """LAKE_VALIDATION_ERRORS in the order of the events, then column_key, error_code."""
    quarantine: pl.DataFrame
    """QUARANTINE."""
    report: dict[str, Any]
    """A row of LAKE_DAYS."""
    claims: list[ClaimRow]
    """The listed claim paths."""
    claim_choice: str
    """The digest of the choice of columns."""


def without_expired(day: FlatDay, limit: datetime | None) -> FlatDay:
    """The day without the quarantined rows that landed before `limit` (UTC). Its report counts them."""
    kept = day.quarantine if limit is None else day.quarantine.filter(pl.col("fetched_at") >= limit)
    if kept.height == day.quarantine.height:
        return day
    kept_whole = kept.filter(pl.col("level") == "event").height
    report = {
        **day.report,
        "expired_quarantined_count": day.report["quarantined_count"] - kept_whole,
        "expired_field_quarantined_count": day.report["field_quarantined_count"] - (kept.height - kept_whole),
    }
    return replace(day, quarantine=kept, report=report)


def flatten_event_dates(
    raws: Mapping[str, pl.DataFrame],
    choose: ChooseColumns,
    *,
    claim_list_length: int,
    column_key_limit: int,
    decryption: Decryption | None = None,
) -> list[FlatDay]:
    """Flattens the rows (RAW_EMBED_EVENTS) of event dates, given by date; `choose` picks the claim columns. Without
    `decryption`, no claims are encrypted."""
    event_dates = list(raws)
    raw = pl.concat(
        rows.with_columns(pl.lit(number, pl.UInt32()).alias("date_index")) for number, rows in enumerate(raws.values())
    )
    merged, origins, rejected, issues = _read(raw, column_key_limit)
    errors = _errors(merged)
    claims = read_claims(merged, decryption)
    seen = {event_date: claims.seen.get(number, {}) for number, event_date in enumerate(event_dates)}
    first = {event_date: first_paths(paths, claim_list_length) for event_date, paths in seen.items()}
    chosen = choose(first)
    claims_of = {event_date: ClaimsOfDate(paths, first[event_date], chosen) for event_date, paths in seen.items()}
    event_counts = dict(merged["date_index"].value_counts().iter_rows())
    columns = {
        path: column
        for number, event_date in enumerate(event_dates)
        for path, column in claims_of[event_date].columns_of_file(event_date, event_counts.get(number, 0)).items()
    }
    events = _with_claims(merged, claims, columns, issues)
    quarantined = quarantine(raw, origins, rejected, issues)
    events_of, errors_of, quarantine_of, raw_of = map(_by_date, (events, errors, quarantined, raw))
    return [
        _day(
            event_date,
            events_of.get(number, events.clear()),
            errors_of.get(number, errors.clear()),
            quarantine_of.get(number, quarantined.clear()),
            raw_of.get(number, raw.clear()),
            claims_of[event_date],
            claims.encrypted.get(number, EncryptedCounts(0, 0)),
        )
        for number, event_date in enumerate(event_dates)
    ]


def _read(raw: pl.DataFrame, column_key_limit: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, list[Issue]]:
    """The merged rows, sorted; their ORIGIN; the rejected deliveries; the issues of both.

    Returning frees the intermediate frames, which are half of all memory on a day of a million events.
    """
    read = read_deliveries(raw)
    accepted = read_data(read.accepted, read.issues, column_key_limit)
    merged = merge(accepted).sort("date_index", "embed_id", "occurred_at", "event_id", "event_uuid", nulls_last=True)
    merged = merged.with_columns(
        event_date=pl.col("occurred_at").dt.date(), has_error_counts=pl.col("counts").is_not_null()
    )
    return merged, accepted.select(ORIGIN), read.rejected, read.issues


def _day(
    event_date: str,
    events: pl.DataFrame,
    errors: pl.DataFrame,
    quarantined: pl.DataFrame,
    raw: pl.DataFrame,
    claims: ClaimsOfDate,
    encrypted: EncryptedCounts,
) -> FlatDay:
    rejected_count = quarantined.filter(pl.col("level") == "event").height
    report = {
        "event_date": event_date,
        "delivery_count": raw.height,
        "event_count": events.height,
        "merged_count": raw.height - rejected_count - events.height,
        "quarantined_count": rejected_count,
        "field_quarantined_count": quarantined.height - rejected_count,
        "expired_quarantined_count": 0,
        "expired_field_quarantined_count": 0,
        "conflict_count": int(events["is_conflict"].sum()),
        "validation_error_count": errors.height,
        "unlisted_claim_count": claims.unlisted_count,
        "encrypted_count": encrypted.event_count,
        "missing_key_count": encrypted.missing_key_count,
        "first_landed_at": raw["fetched_at"].min(),
        "last_landed_at": raw["fetched_at"].max(),
    }
    claim_columns = sorted(column.name for column in claims.columns_of_file(event_date, events.height).values())
    return FlatDay(
        event_date,
        events.select(*LAKE_EMBED_EVENTS.names, *claim_columns),
        errors.select(LAKE_VALIDATION_ERRORS.names),
        quarantined.select(pl.lit(event_date).alias("event_date"), pl.col(QUARANTINE.names[1:])),
        report,
        claims.rows(),
        choice_digest(claims.chosen),
    )


def _errors(merged: pl.DataFrame) -> pl.DataFrame:
    """LAKE_VALIDATION_ERRORS and `date_index`."""
    exploded = explode_counts(merged["counts"])
    of_event = ["date_index", *(name for name in LAKE_VALIDATION_ERRORS.names if name not in exploded.columns)]
    return merged.select(pl.col(of_event).gather(exploded["position"])).hstack(exploded.drop("position"))


def _with_claims(
    merged: pl.DataFrame, claims: Claims, columns: Mapping[str, ClaimColumn], issues: list[Issue]
) -> pl.DataFrame:
    """LAKE_EMBED_EVENTS, `date_index` and the claim columns; and an issue for each value that its type cannot hold."""
    texts, rows = claims.texts(columns)
    values: list[pl.Series] = []
    for path, column in sorted(columns.items(), key=lambda item: item[1].name):
        cast = column.cast(texts[path])
        values.append(cast)
        if cast.null_count() > texts[path].null_count():
            is_bad = cast.is_null() & texts[path].is_not_null()
            bad = merged.select("delivery", text=texts[path].gather(rows)).filter(is_bad.gather(rows))
            for delivery, text in bad.iter_rows():
                issues.append((delivery, f"claims.{path}", f"not {column.type}", dumps(text)))
    claim_columns = pl.DataFrame(list(map(_categories, values))).select(pl.all().gather(rows))
    with_payloads = merged.with_columns(claims=_categories(claims.payloads).gather(claims.runs))
    return with_payloads.select("date_index", "is_conflict", *LAKE_EMBED_EVENTS.names).hstack(claim_columns)


def _categories(values: pl.Series) -> pl.Series:
    """Texts as categories that are their own, and go with them; other values as they are."""
    return values.cast(pl.Categorical(pl.Categories.random())) if values.dtype == pl.String() else values


def _by_date(frame: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """The rows of each date_index. The frame must be sorted by it."""
    lengths = frame["date_index"].rle().struct.field("len").to_list()
    starts = [0, *accumulate(lengths)]
    return {
        frame["date_index"][start]: frame.slice(start, length) for start, length in zip(starts, lengths, strict=False)
    }
