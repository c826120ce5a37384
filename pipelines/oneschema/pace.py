"""Decides when the next request may be sent: at a fixed upper rate, and slower for a while after each 429."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# A longer Retry-After is cut to this. Otherwise an hourly run might never end.
RETRY_AFTER_MAX_SECONDS = 120.0

# Requests that start together come back together, and then their answers wait for each other again and again. This much
# space prevents that. It slows nothing down, because this process needs longer for each request.
SPACING_SECONDS = 0.001

# One 429 puts at least this much time between requests. Each further 429 adds half, and each success takes off a tenth.
# So a server that refuses up to a fifth of the requests, whatever the pace, does not bring the sweep to a halt.
FIRST_SLOWDOWN_SECONDS = 0.02
SLOWDOWN = 1.5
RECOVERY = 0.9
SLOWEST_INTERVAL_SECONDS = 5.0


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds of a Retry-After (a number of seconds or an HTTP date), clamped. None if it cannot be read."""
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = http_date(text)
        if moment is None:
            return None
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    if seconds != seconds:
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)


def http_date(header: str | None) -> datetime | None:
    """The time of a header that is an HTTP date. None if it cannot be read. One without a zone is UTC."""
    try:
        moment = parsedate_to_datetime((header or "").strip())
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class Pace:
    """The pace that all workers share: `turn()` returns when the caller may send its request.

    `requests_per_second` bounds the rate; with None, SPACING_SECONDS does. `monotonic` and `sleep` are the clock, in
    seconds.
    """

    def __init__(
        self,
        requests_per_second: float | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._least_interval = max(1 / requests_per_second if requests_per_second else 0.0, SPACING_SECONDS)
        self._interval = self._least_interval
        self._next_turn = 0.0
        self._monotonic = monotonic
        self._slowed_at = float("-inf")
        self.sleep = sleep

    @property
    def interval_seconds(self) -> float:
        """The present time between two requests."""
        return self._interval

    async def turn(self) -> None:
        """Wait for this caller's turn."""
        now = self._monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval
        if turn > now:
            await self.sleep(turn - now)

    def refused(self, retry_after: float | None) -> None:
        """Call this on a 429: slows down, and makes all workers wait for as long as the server asks."""
        now = self._monotonic()
        # Requests already under way are refused together. They count as one slowdown.
        if now - self._slowed_at >= self._interval:
            self._interval = min(max(self._interval * SLOWDOWN, FIRST_SLOWDOWN_SECONDS), SLOWEST_INTERVAL_SECONDS)
            self._slowed_at = now
        if retry_after:
            self._next_turn = max(self._next_turn, now + retry_after)

    def succeeded(self) -> None:
        """Call this when a request was answered: speeds up a little."""
        recovered = self._interval * RECOVERY
        self._interval = max(recovered, self._least_interval)
