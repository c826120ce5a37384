"""Times as a home keeps them: UTC without a zone, in microseconds, as datetimes or as integers."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1)

# A time outside [PLAUSIBLE_FROM, the present + PLAUSIBLE_AHEAD] is a mistake: a wrong clock or a wrong unit. It is
# kept, but decides nothing.
PLAUSIBLE_FROM = datetime(2020, 1, 1)
PLAUSIBLE_AHEAD = timedelta(days=1)


def utc_now() -> datetime:
    """The present as a naive UTC time."""
    return datetime.now(UTC).replace(tzinfo=None)


def start_of_kept(days: int | None, now: datetime) -> datetime | None:
    """The UTC midnight from which on something is kept for `days` days; None where it is kept for good.

    Whole days, so that what goes does so once a day and not at each refresh.
    """
    return None if days is None else datetime(now.year, now.month, now.day) - timedelta(days=days)


def micros(moment: datetime) -> int:
    """A naive UTC time as microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """Microseconds since 1970 as a naive UTC time."""
    return EPOCH + timedelta(microseconds=value)
