"""Times as everything below a home keeps them: UTC without a zone, in microseconds, as datetimes or as integers."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1)

# A time outside [PLAUSIBLE_FROM, the present + PLAUSIBLE_AHEAD] is a mistake of a clock or of a unit: it is kept, and
# decides nothing.
PLAUSIBLE_FROM = datetime(2020, 1, 1)
PLAUSIBLE_AHEAD = timedelta(days=1)


def utc_now() -> datetime:
    """Now, as a naive UTC time."""
    return datetime.now(UTC).replace(tzinfo=None)


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of a naive UTC time, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """The naive UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)
