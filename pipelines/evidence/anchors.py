"""Anchors: a head of the chain kept outside the home, as a file to commit or to mail.

Whoever rewrites a chain as a whole, or cuts off its end, leaves a chain that fits itself. An anchor that somebody else
keeps shows it, since the chain has to hold the anchor's head for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

from pipelines.chain.links import Head, Link
from pipelines.errors import ConfigurationError
from pipelines.home.files import write_text

# What an anchor is may change; a reader must not take one for another.
_FORMAT = "embed-analytics anchor 1"


@dataclass(frozen=True)
class Anchor:
    """A head, and where it was read from."""

    path: Path
    head: Head


def write_anchor(head: Head, path: Path) -> None:
    """Write a head as a file of JSON. Raises OSError."""
    content = {"format": _FORMAT, "count": head.count, "head": head.digest}
    write_text(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode(), path)


def read_anchor(path: Path) -> Anchor:
    """Raises ConfigurationError for a file that cannot be read or is not an anchor."""
    try:
        content = orjson.loads(path.read_bytes())
        if content["format"] == _FORMAT and len(bytes.fromhex(content["head"])) == 32 and content["count"] >= 0:
            return Anchor(path, Head(content["count"], content["head"]))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, KeyError):
        pass
    raise ConfigurationError(f"{path} is not a file that `embed-analytics anchor --out` wrote.")


def broken_anchors(anchors: Iterable[Anchor], links: Iterable[Link]) -> list[tuple[Anchor, str]]:
    """The anchors that a chain does not hold, each with the reason. The chain itself has been looked at before."""
    wanted = {anchor.head.count for anchor in anchors}
    held = {head.count: head for link in links if (head := link.head).count in wanted}
    broken: list[tuple[Anchor, str]] = []
    for anchor in anchors:
        head = held.get(anchor.head.count)
        if anchor.head.count and head is None:
            broken.append((anchor, f"the chain ends before link {anchor.head.count - 1}, which the anchor has seen"))
        elif head is not None and head != anchor.head:
            last = anchor.head.count - 1
            broken.append((anchor, f"link {last}, or one before it, is not the one that the anchor has seen"))
    return broken
