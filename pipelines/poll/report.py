"""A sweep's request, its progress and its report."""

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from pipelines.poll.listing import ListingCounts
from pipelines.raw.raw_tables import RAW_SWEEPS

SweepKind = Literal["refresh", "backfill", "reconcile"]


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep asks for: a refresh what is due, a backfill a range of event dates (inclusive), a reconcile all."""

    kind: SweepKind = "refresh"
    from_date: date | None = None
    to_date: date | None = None


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is: embeds answered, failed and to ask, events landed, and seconds since the first question."""

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
        """The known values, for Dagster."""
        known = {**vars(self), "embeds_per_second": self.rate, "seconds_left": self.seconds_left}
        return {name: value for name, value in known.items() if value is not None}


@dataclass
class Failure:
    """Why an embed was not answered. The text holds no credential. No embed_id: the list gave embeds without an id."""

    embed_id: int | None
    error: str
    is_transient: bool


@dataclass
class SweepReport:
    """What a sweep did. Its attributes are the columns of raw/sweeps (RAW_SWEEPS), and more."""

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
    failures: list[Failure] = field(default_factory=list[Failure])
    delivered_event_count: int = 0
    landed_event_count: int = 0
    landed_by_date: dict[str, int] = field(default_factory=dict[str, int])
    # What the same step landed from the webhook journal. landed_by_date includes it, landed_event_count does not.
    webhook_event_count: int = 0
    request_count: int = 0
    unasked_embed_count: int | None = None
    first_loss_at: datetime | None = None
    coverage: list[dict[str, Any]] | None = None
    environment_name: str | None = None
    unseen_embed_count: int | None = None
    unseen_from: datetime | None = None
    unseen_until: datetime | None = None
    clock_ahead_sweeps: list[str] | None = None
    coverage_by_environment: list[dict[str, Any]] | None = None
    # Segments of the webhooks' journal that could not be read whole, as lines.
    damaged_segments: list[str] = field(default_factory=list[str])

    def add_webhook_events(self, landed_by_date: dict[str, int]) -> None:
        self.webhook_event_count += sum(landed_by_date.values())
        for event_date, count in landed_by_date.items():
            self.landed_by_date[event_date] = self.landed_by_date.get(event_date, 0) + count

    @property
    def listed_count(self) -> int:
        return self.listing.listed_count

    @property
    def list_total_count(self) -> int | None:
        return self.listing.total_count

    @property
    def new_embed_count(self) -> int:
        return self.listing.new_embed_count

    @property
    def failed_count(self) -> int:
        return len(self.failures)

    def row(self) -> dict[str, Any]:
        """The row for raw/sweeps. Each column is the attribute of the same name; lists are JSON."""
        values = {name: getattr(self, name) for name in RAW_SWEEPS.names}
        return {name: json.dumps(v, default=vars) if isinstance(v, list) else v for name, v in values.items()}
