"""Derives from the refresh schedule when data is late."""

from datetime import datetime, timedelta
from functools import cache

from pipelines.errors import ConfigurationError
from pipelines.settings import Settings

# How long a run may take.
_RUN = timedelta(hours=1)

# How far to look for gaps. A schedule that names no day repeats daily. One that runs every minute of a workday needs
# its weekend, and a monthly one its longest month.
_DAILY, _SPAN = timedelta(days=2), timedelta(days=8)
_TICKS = 500


def late_after(settings: Settings) -> timedelta:
    """The age of the data from which it is late: one refresh of EMBED_ANALYTICS_REFRESH_CRON may be missed.

    Raises ConfigurationError for an expression that is invalid or never comes due.
    """
    return 2 * longest_gap(settings.embed_analytics_refresh_cron) + _RUN


@cache
def longest_gap(cron: str) -> timedelta:
    """The longest time between two ticks of a cron expression. Raises ConfigurationError as `late_after`."""
    from croniter import CroniterError, croniter

    fields = cron.split()
    span, least_ticks = (_DAILY, 2) if fields[2:] == ["*", "*", "*"] else (_SPAN, _TICKS)
    begin = last = datetime(2024, 1, 1)
    longest, ticks = timedelta(), 0
    try:
        # croniter would read a sixth field as seconds.
        schedule = croniter(cron if len(fields) <= 5 else "", begin)
        while ticks < least_ticks or last - begin < span:
            due = schedule.get_next(datetime)
            # No gap ends at the first tick.
            longest, last, ticks = max(longest, due - last if ticks else longest), due, ticks + 1
    except CroniterError:
        raise ConfigurationError(
            f"A setting cannot be used: EMBED_ANALYTICS_REFRESH_CRON: {cron!r} is not a cron expression of five fields "
            "that comes due."
        ) from None
    return longest
