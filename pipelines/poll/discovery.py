"""Finding the embeds, on a list whose order and paging are not documented (api.md).

The list is asked with `offset` and `count`. A server may honour both, cap the count, or ignore both and answer
everything every time. `walk_all` finds every embed whichever it does. `walk_recent` finds the new ones in few requests
where the list turned out to be sorted by id, and says so when it could not.
"""

import itertools
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.errors import SourceError

Order = Literal["ascending", "descending", "none"]
FetchPage = Callable[[int, int], Awaitable[list[Any]]]

PAGE_SIZE = 1000

# 10,000,000 embeds at PAGE_SIZE; a server that never ends its list must not be followed forever, nor cut off silently.
PAGE_LIMIT = 10_000

# How often a walk starts again because the list moved under it before it goes on regardless.
RESTART_LIMIT = 3


class PageLimitError(SourceError):
    """The list did not end within PAGE_LIMIT pages."""


@dataclass
class ListShape:
    """What a walk over the whole list found out about the server."""

    order: Order = "none"
    listed_count: int = 0
    page_length: int = 0
    is_paged: bool = False

    @property
    def allows_recent(self) -> bool:
        """New embeds can be found without walking everything."""
        return self.is_paged and self.order != "none"


def embed_id_of(summary: Any) -> int:
    """The id of an embed summary; for one without a readable id, a negative number that stands for its content."""
    value = summary.get("id") if isinstance(summary, dict) else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return -1 - zlib.crc32(repr(summary).encode("utf-8", "replace"))


async def walk_all(
    fetch: FetchPage, shape: ListShape, *, page_size: int = PAGE_SIZE, page_limit: int = PAGE_LIMIT
) -> AsyncIterator[list[dict[str, Any]]]:
    """Every embed, each once, page by page; `shape` is filled in on the way.

    Pages overlap by one embed: when the page does not begin with the embed that the last one ended with, embeds were
    deleted or added meanwhile and some may have slipped between two pages, so the walk starts again (what was seen is
    not yielded twice). It ends at an empty page or when pages bring nothing new. Raises PageLimitError.
    """
    yielded: set[int] = set()
    walked: set[int] = set()
    offset, last, restarts, was_repeated = 0, None, 0, False
    ascending = descending = True
    for _ in range(page_limit):
        page = await fetch(offset, page_size)
        ids = [embed_id_of(embed) for embed in page]
        is_repeated = bool(ids) and walked.issuperset(ids)
        has_moved = last is not None and ids[:1] != [last]
        if has_moved and is_repeated and not was_repeated and len(page) <= page_size:
            # Embeds were added in front, or the server ignores paging: the next page tells which.
            was_repeated = True
            offset, last = offset + max(len(ids) - 1, 1), ids[-1]
            continue
        if has_moved and not is_repeated and restarts < RESTART_LIMIT:
            walked.clear()
            offset, last, restarts = 0, None, restarts + 1
            ascending = descending = True
            continue
        run = [*([last] if last is not None else []), *(id_ for id_ in ids if id_ not in walked)]
        ascending = ascending and all(a < b for a, b in itertools.pairwise(run))
        descending = descending and all(a > b for a, b in itertools.pairwise(run))
        is_end = walked.issuperset(ids)
        walked.update(ids)
        shape.listed_count = len(walked)
        shape.order = "none" if ascending == descending else "ascending" if ascending else "descending"
        if fresh := {id_: embed for id_, embed in zip(ids, page, strict=True) if id_ not in yielded}:
            yielded.update(fresh)
            yield list(fresh.values())
        # More than was asked for: the server ignores paging, and this was everything.
        if is_end or len(page) > page_size:
            return
        shape.is_paged = shape.is_paged or offset > 0
        shape.page_length = max(shape.page_length, len(ids))
        # A page of one embed leaves no room for an overlap.
        offset, last = (offset + len(ids) - 1, ids[-1]) if len(ids) > 1 else (offset + 1, None)
    raise _too_long(page_limit, page_size)


async def walk_recent(
    fetch: FetchPage,
    shape: ListShape,
    known_among: Callable[[list[int]], set[int]],
    *,
    look_back: int,
    page_size: int = PAGE_SIZE,
    page_limit: int = PAGE_LIMIT,
) -> AsyncIterator[list[dict[str, Any]] | None]:
    """The newest embeds of a list that was sorted by id: all that are not known, and at least the last `look_back`.

    Ids grow with time, so new embeds stand at one end; `known_among` tells which of some ids were listed before. Yields
    None, as the last thing, where the list is not as `shape` has it: the caller then walks everything.
    """
    is_ascending = shape.order == "ascending"
    offset = first_offset = max(shape.listed_count - look_back, 0) if is_ascending else 0
    for _ in range(page_limit):
        page = await fetch(offset, page_size)
        ids = [embed_id_of(embed) for embed in page]
        known = known_among(ids)
        # The first page of an ascending list must stand on known ground, else new embeds may lie before it.
        has_foothold = not is_ascending or offset > first_offset or offset == 0 or ids[:1] == sorted(known)[:1] != []
        if ids != sorted(set(ids), reverse=not is_ascending) or not has_foothold:
            yield None
            return
        yield page
        offset += max(len(ids) - 1, 1)
        if len(ids) < 2 or (not is_ascending and known and offset >= look_back):
            return
    raise _too_long(page_limit, page_size)


def _too_long(page_limit: int, page_size: int) -> PageLimitError:
    return PageLimitError(
        f"GET /v1/embeds did not end within {page_limit} pages of {page_size}: nothing was cut off, the sweep stops."
    )
