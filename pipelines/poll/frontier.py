"""Decides when an embed is asked again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.settings import Settings


@dataclass(frozen=True)
class FrontierRule:
    """The rule by which embeds become due, and what it costs.

    At the moment of a poll, let `idle` be the time since the embed's last event. For an embed without events, it is the
    time since it was first seen, or since a later embed began.

    - A new embed is due at once. So is one whose status, token or template changed in the list.
    - idle <= idle_after: due at every sweep, submitted or not, because most submitted sessions still send events.
    - then: due again after `idle * growth`, at least `idle_after * growth`, at most `longest_interval`. If the
      retention is known, that is `retention * retention_share`, so that there are at least 1 / retention_share polls
      between an event's appearance in an idle session and its deletion by the vendor.
    - idle > settle_after: settled, and asked again only by reconcile, a backfill, or a change in the list.
    - A failed poll leaves the embed due. A refused one (400, 409, 422) makes it due after 1/2 h * 2^(failures - 1), at
      most `longest_interval`: the next hourly sweep asks it again, and later sweeps less and less often. 404 marks it
      gone. While the list still has it, it is asked like a refused one.

    Bounds. An embed is polled (idle_after / sweep interval) times while open, then once for each factor (1 + growth) of
    its idle time: log(settle_after / idle_after) / log(1 + growth) times, 11 by default, unless `longest_interval` caps
    the interval. An event is seen within the embed's interval at that time, so never later than half its idle time.
    """

    idle_after: timedelta
    settle_after: timedelta
    retention: timedelta | None = None
    growth: float = 0.5
    retention_share: float = 0.25

    @classmethod
    def from_settings(cls, settings: Settings) -> "FrontierRule":
        days = settings.oneschema_retention_days
        return cls(
            idle_after=settings.idle_after,
            settle_after=settings.settle_after,
            retention=timedelta(days=days) if days else None,
        )

    @property
    def longest_interval(self) -> timedelta:
        """The longest time between two polls of an embed that is not settled."""
        if self.retention is None:
            return self.settle_after * self.growth
        return min(self.settle_after * self.growth, self.retention * self.retention_share)

    def next_due_at(self, polled_at: datetime, active_at: datetime) -> datetime | None:
        """When to ask again after an answer at `polled_at`, with the last activity at `active_at`. None: settled."""
        idle = polled_at - active_at
        if idle <= self.idle_after:
            return polled_at
        if idle > self.settle_after:
            return None
        return polled_at + min(idle * self.growth, self.longest_interval)

    def next_try_at(self, refused_at: datetime, failure_count: int) -> datetime:
        """When to ask again after the API has refused the request `failure_count` times in a row."""
        # 2^20 half hours exceed any interval. The exponent is bounded so that the product fits a timedelta.
        return refused_at + min(timedelta(minutes=30) * 2 ** min(failure_count - 1, 20), self.longest_interval)
