"""The quarantine of event dates: deliveries that did not become a row, and values that are NULL in their row."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from pipelines.flatten.lake_tables import QUARANTINE
from pipelines.flatten.read_deliveries import Issue
from pipelines.oneschema.event_fields import EVENT_FIELDS
from pipelines.oneschema.json_text import Json, JsonText, dumps, loads

_ISSUES = pl.Schema({"delivery": pl.UInt32(), "field": pl.String(), "reason": pl.String(), "payload": pl.String()})

# What the quarantine says about a delivery besides the issue.
ORIGIN = ["delivery", "date_index", "event_uuid", "embed_id", "fetched_at", "digest"]


def quarantine(
    raw: pl.DataFrame, accepted: pl.DataFrame, rejected: pl.DataFrame, issues: Sequence[Issue]
) -> pl.DataFrame:
    """QUARANTINE, but with `date_index` in place of event_date. There is a row for each rejected delivery, and one for
    each issue of an accepted delivery, whose ORIGIN is enough."""
    whole = _rejected_events(raw, rejected, issues)
    fields = pl.DataFrame(issues, schema=_ISSUES, orient="row").join(accepted, on="delivery", how="inner")
    names = ["date_index", *QUARANTINE.names[1:]]
    return pl.concat(
        [
            whole.with_columns(pl.lit("event").alias("level")).select(names),
            fields.with_columns(pl.lit("field").alias("level")).select(names),
        ]
    ).sort("date_index", "level", "event_uuid", "embed_id", "field", "digest", "fetched_at", "payload", nulls_last=True)


def _rejected_events(raw: pl.DataFrame, rejected: pl.DataFrame, issues: Sequence[Issue]) -> pl.DataFrame:
    reasons = {(delivery, field): reason for delivery, field, reason, _ in issues}
    as_landed = raw[rejected["delivery"].to_list()] if rejected.height else raw.clear()
    found = [
        (row["delivery"], *_why(row, reasons), event_json(landed))
        for row, landed in zip(rejected.iter_rows(named=True), as_landed.iter_rows(named=True), strict=True)
    ]
    return pl.DataFrame(found, schema=_ISSUES, orient="row").join(rejected, on="delivery", how="inner")


def _why(row: dict[str, Any], reasons: dict[tuple[int, str], str]) -> tuple[str, str]:
    """The first required field that could not be read, and the reasons of all of them."""
    if row["odd"] is not None and not row["odd"].startswith("{"):
        return "event", "not an object"
    unreadable = [field.name for field in EVENT_FIELDS if field.required and row[field.column] is None]
    return unreadable[0], "; ".join(f"{name}: {reasons.get((row['delivery'], name), 'missing')}" for name in unreadable)


def event_json(row: dict[str, Any]) -> str:
    """The event of a raw row, as it came except for credentials. Embed, template and environment may come from its
    envelope."""
    odd = loads((row["odd"] or "{}").encode())
    if not isinstance(odd, dict):
        return dumps(odd)
    event: dict[str, Json] = {}
    for field in EVENT_FIELDS:
        value = row[field.raw_column]
        if value is not None:
            event[field.name] = JsonText(value) if field.kind.json_type is dict else value
    if row["extra"] is not None:
        extra = loads(row["extra"].encode())
        assert isinstance(extra, dict), "landing writes an object"
        event |= extra
    return dumps(event | odd)
