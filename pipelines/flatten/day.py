"""One raw folder to its two lake tables: a pure function of the folder's rows and of the choice of claim columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines.flatten.claim_columns import ClaimColumn
from pipelines.flatten.claim_paths import DayClaims, Seen, read_claims
from pipelines.flatten.deliveries import Issue, read_deliveries
from pipelines.flatten.event_data import explode_counts, read_data
from pipelines.flatten.merge import merge
from pipelines.flatten.quarantine import quarantine
from pipelines.flatten.schema import LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS
from pipelines.oneschema.json_text import dumps

ChooseColumns = Callable[[Mapping[str, Seen]], Mapping[str, ClaimColumn]]


@dataclass(frozen=True)
class FlatDay:
    """What one raw folder became."""

    folder: str
    events: pl.DataFrame
    """LAKE_EMBED_EVENTS and the claim columns, sorted by embed_id, occurred_at, event_id, event_uuid."""
    errors: pl.DataFrame
    """LAKE_VALIDATION_ERRORS in the order of the events, then column_key, error_code."""
    quarantine: pl.DataFrame
    """QUARANTINE."""
    report: dict[str, Any]
    """A row of LAKE_DAYS."""
    seen: dict[str, Seen]
    """The claims of the day by path."""
    columns: dict[str, ClaimColumn]
    """The claim columns of `events` by path."""


def flatten_day(folder: str, raw: pl.DataFrame, choose: ChooseColumns) -> FlatDay:
    """Flattens one raw folder's rows (RAW_EMBED_EVENTS). `choose` is given the day's claims and picks the columns."""
    read = read_deliveries(raw)
    issues: list[Issue] = read.issues
    accepted = read_data(read.accepted, issues)
    merged, conflict_count = merge(accepted)
    merged = merged.sort("embed_id", "occurred_at", "event_id", "event_uuid", nulls_last=True).with_columns(
        event_date=pl.col("occurred_at").dt.date(), has_error_counts=pl.col("counts").is_not_null()
    )
    errors = explode_counts(merged.select("counts", *LAKE_VALIDATION_ERRORS.names[:7]))
    claims = read_claims(merged)
    columns = {path: column for path, column in choose(claims.seen).items() if path in claims.seen}
    events = _with_claims(merged, claims, columns, issues)
    quarantined = quarantine(folder, raw, accepted, read.rejected, issues)
    field_count = quarantined.filter(pl.col("level") == "field").height
    report = {
        "event_date": folder,
        "delivery_count": raw.height,
        "event_count": events.height,
        "merged_count": accepted.height - events.height,
        "quarantined_count": read.rejected.height,
        "field_quarantined_count": field_count,
        "conflict_count": conflict_count,
        "validation_error_count": errors.height,
        "first_landed_at": raw["fetched_at"].min(),
        "last_landed_at": raw["fetched_at"].max(),
    }
    return FlatDay(
        folder, events, errors.select(LAKE_VALIDATION_ERRORS.names), quarantined, report, claims.seen, columns
    )


def _with_claims(
    merged: pl.DataFrame, claims: DayClaims, columns: Mapping[str, ClaimColumn], issues: list[Issue]
) -> pl.DataFrame:
    """LAKE_EMBED_EVENTS and the claim columns; an issue for each value that a declared type cannot hold."""
    texts = claims.texts(columns)
    by_run: list[pl.Series] = []
    for path, column in sorted(columns.items(), key=lambda item: item[1].name):
        cast = column.cast(texts[path])
        by_run.append(cast)
        if cast.null_count() > texts[path].null_count():
            bad = merged.select("delivery", text=texts[path].gather(claims.runs)).filter(
                cast.is_null().gather(claims.runs), pl.col("text").is_not_null()
            )
            for delivery, text in bad.iter_rows():
                issues.append((delivery, f"claims.{path}", f"not {column.type}", dumps(text)))
    claim_columns = pl.DataFrame(by_run).select(pl.all().gather(claims.runs))
    return merged.select(LAKE_EMBED_EVENTS.names).hstack(claim_columns)
