"""The simulator's clock: it stands still until moved, or runs with the machine's from a given time."""

import math
import time

from pipelines.errors import ConfigurationError


class Clock:
    """Epoch seconds. Moving it back is allowed: what then lies in the future is hidden again."""

    def __init__(self, now: float, *, runs: bool = False) -> None:
        self._base = now
        self._runs = runs
        self._started = time.monotonic()

    @property
    def runs(self) -> bool:
        return self._runs

    def now(self) -> float:
        return self._base + (time.monotonic() - self._started) if self._runs else self._base

    def set(self, now: float) -> None:
        """Moves the clock to `now`, from where it stands still or runs on. Raises ConfigurationError unless finite."""
        if not math.isfinite(now):
            raise ConfigurationError(f"The clock cannot be set to {now}.")
        self._base = now
        self._started = time.monotonic()

    def advance(self, seconds: float) -> None:
        self.set(self.now() + seconds)
