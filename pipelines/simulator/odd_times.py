"""Writes the times of a tenant's events in another shape than the documented one, or wrongly."""

import zlib
from datetime import UTC, datetime
from typing import Literal

TimeShape = Literal["seconds", "milliseconds", "text", "iso", "iso-hours", "iso-basic", "iso-comma"]

# One event in this many is dated wrongly while the switch is on.
_ONE_IN = 12
_TEN_YEARS = 3652.5 * 86_400


def shown_time(created_at: float, uuid: str, shape: TimeShape, *, has_odd_dates: bool) -> float | str:
    """What the event's created_at says: the true time in `shape`, or for some events another time altogether."""
    draw = zlib.crc32(uuid.encode())
    if has_odd_dates and draw % _ONE_IN == 0:
        created_at = (0.0, 1e9, round(created_at / 1000, 3), created_at + _TEN_YEARS)[draw // _ONE_IN % 4]
    if shape == "seconds":
        return created_at
    if shape == "milliseconds":
        return round(created_at * 1000)
    if shape == "text":
        return repr(created_at)
    moment = datetime.fromtimestamp(created_at, UTC)
    if shape == "iso":
        return moment.isoformat()
    if shape == "iso-hours":
        # As PostgreSQL prints a timestamptz.
        return f"{moment:%Y-%m-%d %H:%M:%S.%f}+00"
    if shape == "iso-basic":
        return f"{moment:%Y%m%dT%H%M%SZ}"
    return f"{moment:%Y-%m-%dT%H:%M:%S},{moment.microsecond:06d}Z"
