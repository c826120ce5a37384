"""The oldest day of each layer of a home, and how long it stays: what `status` and `doctor` show."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipelines.home.layout import Home
    from pipelines.settings import Settings


class Layer(NamedTuple):
    """A layer of a home: for how many days it is kept (None: for good), and the oldest day that it has (None: none).

    The day is that of the events in raw and lake, of their landing in the quarantine, of their arrival in
    raw/unreadable, and of the build for earlier warehouses.
    """

    name: str
    days: int | None
    oldest: date | None


def layers(settings: Settings) -> list[Layer]:
    """The layers of the settings' home."""
    home = settings.home
    return [
        Layer("raw", None, _oldest_event_date(home, is_raw=True)),
        Layer("lake", None, _oldest_event_date(home, is_raw=False)),
        Layer("quarantine", settings.embed_analytics_keep_quarantine_days, _oldest_quarantined(home)),
        Layer("unreadable", settings.embed_analytics_keep_unreadable_days, _oldest_unreadable(home)),
        Layer("warehouses", settings.embed_analytics_keep_warehouses_days, _oldest_kept(home)),
    ]


def _oldest_event_date(home: Home, *, is_raw: bool) -> date | None:
    from pipelines.flatten.files import event_dates
    from pipelines.home.layout import UNKNOWN_DATE

    dates = event_dates(home.raw_embed_events if is_raw else home.lake_embed_events)
    return min((date.fromisoformat(found) for found in dates if found != UNKNOWN_DATE), default=None)


def _oldest_quarantined(home: Home) -> date | None:
    import polars as pl

    files = sorted(home.quarantine.glob("event_date=*/quarantine.parquet"))
    if not files:
        return None
    landed_at = pl.scan_parquet(files, glob=False, hive_partitioning=False).select(pl.col("fetched_at").min())
    first = landed_at.collect().item()
    return None if first is None else first.date()


def _oldest_unreadable(home: Home) -> date | None:
    from pipelines.raw.expiry import oldest_unreadable

    first = oldest_unreadable(home)
    return None if first is None else first.date()


def _oldest_kept(home: Home) -> date | None:
    from pipelines.warehouse.publish import kept_builds

    return min((built_at.date() for built_at in kept_builds(home).values()), default=None)
