"""Whether the work on a text is linear in its length, from 32 kB to 1 MB, while the machine does other things."""

import gc
import math
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SIZES = [32 * 1024 * 2**doubling for doubling in range(6)]

# Four times the text: linear work takes 4 times as long, and quadratic work 16 times. Caches that no longer suffice,
# and other processes that take them, move the ratio of a single doubling by half.
MOST = 9.0
_ROUNDS = (3, 9, 27, 81)


def worst_ratio(run: Callable[[T], object], make: Callable[[int], T]) -> tuple[float, list[float]]:
    """The largest ratio between a size and the one of a quarter of it, and the seconds of each size; `make` makes an
    input of a size. More rounds are tried while the ratio is above MOST."""
    took = [math.inf] * len(SIZES)
    gc.disable()
    try:
        for runs in _ROUNDS:
            took = [min(before, _seconds(run, make(size), runs)) for size, before in zip(SIZES, took, strict=True)]
            if _worst(took) <= MOST:
                break
    finally:
        gc.enable()
    return _worst(took), took


def _worst(took: list[float]) -> float:
    # Below a millisecond it is the clock that is measured.
    return max(after / max(before, 0.001) for before, after in zip(took, took[2:], strict=False))


def _seconds(run: Callable[[T], object], given: T, runs: int) -> float:
    """The least of several runs: what other processes take away is never less than nothing."""
    least = math.inf
    for _ in range(runs):
        began = time.process_time()
        run(given)
        least = min(least, time.process_time() - began)
    return least
