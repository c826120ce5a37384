"""Finding the embeds, on a list whose order and paging are not documented (api.md).

The list is asked with `offset` and `count`. A server may honour both, cap the count, or ignore both and answer
everything every time. `walk_all` finds every embed whichever it does. `walk_recent` finds the new ones in few requests
where the list turned out to be sorted by id, and says so when it could not.
"""

import asyncio
import itertools
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pipelines.errors import SourceError

T = TypeVar("T")
Order = Literal["ascending", "descending", "none"]
FetchPage = Callable[[int, int], Awaitable[list[Any]]]

PAGE_SIZE = 1000

# 10,000,000 embeds at PAGE_SIZE; a server that never ends its list must not be followed forever, nor cut off silently.
PAGE_LIMIT = 10_000

# How often a walk steps back because the list moved under it; one in another order at each request would never end.
RETREAT_LIMIT = 100


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
        """New embeds can be found without walking everything; pages of one embed leave no room for an overlap."""
        return self.is_paged and self.order != "none" and self.page_length > 1


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
) -> AsyncGenerator[list[dict[str, Any]]]:
    """Every embed, each once, page by page; `shape` is filled in on the way.

    Pages overlap by one embed, and each has to begin with an embed that was walked: else embeds before it were deleted
    meanwhile, and others have slipped past, so the walk steps back by a page. (Embeds added in front only bring known
    ones again.) It ends at an empty page, or when pages bring nothing new. Raises PageLimitError.
    """
    walked: set[int] = set()
    first_page: set[int] = set()
    offset, last, retreats, was_repeated = 0, None, 0, False
    ascending = descending = True
    for _ in range(page_limit):
        page = await fetch(offset, page_size)
        ids = [embed_id_of(embed) for embed in page]
        shape.page_length = max(shape.page_length, len(ids))
        is_whole = offset > 0 and first_page.issubset(ids)
        has_slipped = last is not None and walked.isdisjoint(ids[:1]) and not is_whole
        if offset > 0 and has_slipped and retreats < RETREAT_LIMIT:
            offset, retreats = max(offset - shape.page_length + 1, 0), retreats + 1
            continue
        fresh = {id_: embed for id_, embed in zip(ids, page, strict=True) if id_ not in walked}
        run = [*([last] if last is not None else []), *(id_ for id_ in ids if id_ not in walked)]
        ascending = ascending and all(a < b for a, b in itertools.pairwise(run))
        descending = descending and all(a > b for a, b in itertools.pairwise(run))
        walked.update(fresh)
        shape.listed_count = len(walked)
        shape.order = "none" if ascending == descending else "ascending" if ascending else "descending"
        if fresh:
            yield list(fresh.values())
        first_page = set(ids) if offset == 0 else first_page
        is_repeated = not fresh or is_whole
        # More than was asked for, or the same list again: the server ignores paging, and this was everything. Once may
        # also be embeds that were added in front; the next page tells.
        if not ids or len(page) > page_size or (not fresh and ids == [last]) or (is_repeated and was_repeated):
            return
        shape.is_paged = shape.is_paged or (offset > 0 and not is_repeated)
        was_repeated = is_repeated
        # A page of one embed leaves no room for an overlap.
        offset, last = (offset + len(ids) - 1, ids[-1]) if len(ids) > 1 else (offset + 1, None)
    raise _too_long(page_limit, page_size)


async def one_ahead(pages: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same pages; the next one is asked for while one is taken in."""
    coming = asyncio.create_task(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.create_task(anext(pages, None))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await pages.aclose()


async def walk_recent(
    fetch: FetchPage,
    shape: ListShape,
    known_among: Callable[[list[int]], set[int]],
    *,
    look_back: int,
    page_size: int = PAGE_SIZE,
    page_limit: int = PAGE_LIMIT,
) -> AsyncGenerator[list[dict[str, Any]] | None]:
    """The newest embeds of a list that was sorted by id: all that are not known, and at least the last `look_back`.

    Ids grow with time, so new embeds stand at one end; `known_among` tells which of some ids were listed before. Yields
    None, as the last thing, where the list is not as `shape` has it: the caller then walks everything.
    """
    is_ascending = shape.order == "ascending"
    last: int | None = None
    offset = first_offset = max(shape.listed_count - look_back, 0) if is_ascending else 0
    for _ in range(page_limit):
        page = await fetch(offset, page_size)
        ids = [embed_id_of(embed) for embed in page]
        known = known_among(ids)
        # The first page of an ascending list must stand on known ground, else new embeds may lie before it.
        has_foothold = not is_ascending or offset > first_offset or offset == 0 or ids[:1] == sorted(known)[:1] != []
        # A later page goes on from the last embed of the one before: else embeds were deleted, and others slipped past,
        # or the server does not page any more. Embeds added in front of a descending list bring known ones again.
        goes_on = last is None or (ids[:1] == [last] if is_ascending else last in ids and ids[1:][-1:] != [last])
        if ids != sorted(set(ids), reverse=not is_ascending) or not has_foothold or not goes_on:
            yield None
            return
        yield page
        last = ids[-1] if ids else None
        offset += max(len(ids) - 1, 1)
        if len(ids) < 2 or (not is_ascending and known and offset >= look_back):
            return
    raise _too_long(page_limit, page_size)


def _too_long(page_limit: int, page_size: int) -> PageLimitError:
    return PageLimitError(
        f"GET /v1/embeds did not end within {page_limit} pages of {page_size}: nothing was cut off, the sweep stops."
    )
