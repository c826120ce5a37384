"""raw/webhook_gaps: what was pushed and may not be in raw, because it was refused, or its segment was damaged."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl

from pipelines.home.layout import Home
from pipelines.home.tables import TIMESTAMP, Column, Table
from pipelines.raw.landing import land_once

RAW_WEBHOOK_GAPS = Table(
    name="webhook_gaps",
    description="Pushed events that may be missing: refused ones, one row per reason and hour at a time, and segments.",
    columns=(
        Column("gap_id", pl.String(), "identity: the segment and the place in it"),
        Column("began_at", TIMESTAMP, "the hour in which they were refused; when a damaged segment was begun (UTC)"),
        Column("reason", pl.String(), "too_large, overloaded or disk; damaged for a segment"),
        Column("refused_count", pl.Int64(), "requests with the right secret that were refused; NULL for a segment"),
        Column("sweep_id", pl.String(), "the webhook journal segment that says so"),
    ),
)


@dataclass(frozen=True)
class WebhookGap:
    """A row of raw/webhook_gaps. `began_at` is naive UTC."""

    gap_id: str
    began_at: datetime
    reason: str
    refused_count: int | None
    sweep_id: str


def land_webhook_gaps(home: Home, segment: str, gaps: Iterable[WebhookGap]) -> None:
    """Add the gaps of one journal segment. It may be read more than once: what is there is not added again."""
    rows = [asdict(gap) for gap in gaps]
    frame = pl.DataFrame(rows, schema=RAW_WEBHOOK_GAPS.polars_schema, orient="row")
    land_once(home, RAW_WEBHOOK_GAPS, home.raw_webhook_gaps, frame, segment, ["gap_id"])
