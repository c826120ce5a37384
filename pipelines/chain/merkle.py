"""Merkle trees of SHA-256, as RFC 6962 (section 2.1) defines them: one digest for a list of texts, and short proofs.

A proof holds digests of other texts and never a text. Which of two digests is the left one is part of it. Leaves and
inner nodes are hashed with different first bytes, so that none can stand for the other.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

_LEAF, _NODE = b"\x00", b"\x01"
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of no texts."""


class Sibling(NamedTuple):
    """A step of a proof: the digest that is hashed together with what was reached so far, and on which side it is."""

    side: Literal["left", "right"]
    digest: bytes


def leaves(texts: Iterable[bytes]) -> list[bytes]:
    """The digests of texts, in their order."""
    sha256 = hashlib.sha256
    return [sha256(_LEAF + text).digest() for text in texts]


def root(digests: Sequence[bytes]) -> bytes:
    """The root over leaves."""
    level = list(digests)
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY_ROOT


def proof(digests: Sequence[bytes], position: int) -> list[Sibling]:
    """What leads from the leaf at `position` to the root. Raises IndexError where there is no such leaf."""
    return proofs(digests, [position])[0]


def proofs(digests: Sequence[bytes], positions: Sequence[int]) -> list[list[Sibling]]:
    """The proof of each position, for the work of hashing the tree once. Raises IndexError."""
    if not all(0 <= position < len(digests) for position in positions):
        raise IndexError(positions)
    found: list[list[Sibling]] = [[] for _ in positions]
    level, places = list(digests), list(positions)
    while len(level) > 1:
        for siblings, place in zip(found, places, strict=True):
            other = place ^ 1
            if other < len(level):
                siblings.append(Sibling("left" if other < place else "right", level[other]))
        level, places = _above(level), [place // 2 for place in places]
    return found


def _above(level: list[bytes]) -> list[bytes]:
    # Of an odd number the last one goes up as it is. That is the tree of RFC 6962, whose left part is always full.
    sha256 = hashlib.sha256
    pairs = iter(level)
    above = [sha256(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above
