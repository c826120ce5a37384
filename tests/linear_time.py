"""Whether twice the input takes about twice the time, from 32 kB to 1 MB, while the machine does other things."""

import gc
import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

SIZES = [32 * 1024 * 2**doubling for doubling in range(6)]
MOST = 2.5


def worst_ratio(run: Callable[[T], object], make: Callable[[int], T]) -> tuple[float, list[float]]:
    """The largest ratio between neighbouring sizes, and the seconds of each size; `make` makes an input of a size."""
    gc.disable()
    try:
        took = [math.inf] * len(SIZES)
        for runs in (3, 9, 27):
            took = [min(before, _seconds(run, make(size), runs)) for size, before in zip(SIZES, took, strict=True)]
            if _worst(took) <= MOST:
                break
    finally:
        gc.enable()
    return _worst(took), took


def _worst(took: list[float]) -> float:
    # Below a millisecond it is the clock that is measured.
    return max(after / max(before, 0.001) for before, after in pairwise(took))


def _seconds(run: Callable[[T], object], given: T, runs: int) -> float:
    """The least of several runs: what other processes take away is never less than nothing."""
    least = math.inf
    for _ in range(runs):
        began = time.process_time()
        run(given)
        least = min(least, time.process_time() - began)
    return least
