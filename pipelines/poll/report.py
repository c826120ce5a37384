"""What a sweep is asked, how far it is, and what it did."""

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from pipelines.poll.listing import ListingCounts

SweepKind = Literal["refresh", "backfill", "reconcile"]


@dataclass(frozen=True)
class SweepRequest:
    """What to ask for: a refresh what is due, a backfill a range of event dates (inclusive), a reconcile everything."""

    kind: SweepKind = "refresh"
    from_date: date | None = None
    to_date: date | None = None


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is: embeds answered, failed and to ask, events landed, seconds since the asking began."""

    done: int
    failed: int
    total: int
    landed_events: int
    seconds: float

    @property
    def rate(self) -> float:
        """Embeds per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def metadata(self) -> dict[str, int | float]:
        """The same for Dagster, as far as it is known."""
        known = {**vars(self), "embeds_per_second": self.rate, "seconds_left": self.seconds_left}
        return {name: value for name, value in known.items() if value is not None}


@dataclass
class Failure:
    """Why an embed was not answered; the text holds no credential. No embed_id: embeds of the list without one."""

    embed_id: int | None
    error: str
    is_transient: bool


@dataclass
class SweepReport:
    """What a sweep did; its fields are the columns of raw/sweeps (pipelines.raw.raw_tables)."""

    sweep_id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None = None
    is_complete: bool = False
    is_resumed: bool = False
    listing: ListingCounts = field(default_factory=ListingCounts)
    due_count: int = 0
    fetched_count: int = 0
    gone_count: int = 0
    failures: list[Failure] = field(default_factory=list)
    delivered_event_count: int = 0
    landed_event_count: int = 0
    landed_by_date: dict[str, int] = field(default_factory=dict)
    # Landed from the webhooks' journal by the same step; landed_by_date has them too, landed_event_count has not.
    webhook_event_count: int = 0
    request_count: int = 0
    unasked_embed_count: int | None = None
    first_loss_at: datetime | None = None
    coverage: list[dict[str, Any]] | None = None

    def add_webhook_events(self, landed_by_date: dict[str, int]) -> None:
        self.webhook_event_count += sum(landed_by_date.values())
        for event_date, count in landed_by_date.items():
            self.landed_by_date[event_date] = self.landed_by_date.get(event_date, 0) + count

    def row(self) -> dict[str, Any]:
        """The row for raw/sweeps."""
        return {
            "sweep_id": self.sweep_id,
            "kind": self.kind,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "is_complete": self.is_complete,
            "listed_count": self.listing.listed_count,
            "list_total_count": self.listing.total_count,
            "new_embed_count": self.listing.new_embed_count,
            "due_count": self.due_count,
            "fetched_count": self.fetched_count,
            "gone_count": self.gone_count,
            "failed_count": len(self.failures),
            "delivered_event_count": self.delivered_event_count,
            "landed_event_count": self.landed_event_count,
            "request_count": self.request_count,
            "failures": json.dumps([vars(failure) for failure in self.failures]),
            "unasked_embed_count": self.unasked_embed_count,
            "first_loss_at": self.first_loss_at,
            "coverage": None if self.coverage is None else json.dumps(self.coverage),
        }
