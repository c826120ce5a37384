"""How long to look: CI tries the same cases each time, `make prove` PROVE times as many, from a seed that it prints."""

import os

FACTOR = int(os.environ.get("PROVE") or 1)
SEED = int(os.environ.get("PROVE_SEED") or 0)


def examples(count: int) -> int:
    """How many examples hypothesis tries where CI tries `count`."""
    return count * FACTOR


def seeds(count: int) -> range:
    """Seeds of a test that draws its cases by itself, where CI tries `count` of them."""
    return range(SEED, SEED + count * FACTOR)
