"""Finds the embeds in a list whose order and paging are not documented.

The list is requested with `offset` and `count`. A server may honour both, cap the count, ignore both and answer
everything every time, or announce the next page itself, which is then followed. `walk_all` finds every embed in all of
these cases. `walk_recent` finds the new ones in few requests if the list turned out to be sorted by id, and says so if
it could not.
"""

import asyncio
import itertools
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Set
from dataclasses import dataclass
from typing import Literal, TypeVar

from pipelines.errors import SourceError
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.paging import Page, PageRequest, Trail

T = TypeVar("T")
Order = Literal["ascending", "descending", "none"]
FetchPage = Callable[[PageRequest], Awaitable[Page]]

PAGE_SIZE = 1000

# 10,000,000 embeds at PAGE_SIZE. A list that never ends must not be followed forever, nor be cut off silently.
PAGE_LIMIT = 10_000

# How often a walk steps back because the list moved. If each answer had another order, the walk would never end.
RETREAT_LIMIT = 100


# Digits of the largest embed id, 2**63 - 1.
_ID_DIGITS = 19


class PageLimitError(SourceError):
    """The list did not end within PAGE_LIMIT pages."""


@dataclass
class ListShape:
    """What a walk over the whole list found out about the server.

    `total_count` is the server's own total. `missing_count` is how many fewer came, in a whole walk and its repetition.
    `problem` says why an announced page was not requested.
    """

    order: Order = "none"
    listed_count: int = 0
    page_length: int = 0
    is_paged: bool = False
    total_count: int | None = None
    missing_count: int = 0
    problem: str | None = None

    @property
    def allows_recent(self) -> bool:
        """Whether new embeds can be found without walking everything. Pages of one embed cannot overlap."""
        return self.is_paged and self.order != "none" and self.page_length > 1


def embed_id_of(summary: Json) -> int:
    """The id of an embed summary. If it has no readable id, a negative number that stands for its content."""
    value = summary.get("id") if isinstance(summary, dict) else None
    # Python refuses to read a very long integer. No id has so many digits.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _ID_DIGITS:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return -1 - zlib.crc32(repr(summary).encode("utf-8", "replace"))


class Sorting:
    """Whether the ids of a walk rise or fall from the first to the last."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._rises = self._falls = True

    def update_state(self, fresh: list[int]) -> None:
        run = fresh if self._last is None else [self._last, *fresh]
        self._rises = self._rises and all(a < b for a, b in itertools.pairwise(run))
        self._falls = self._falls and all(a > b for a, b in itertools.pairwise(run))
        self._last = run[-1] if run else None

    @property
    def order(self) -> Order:
        """The order. It is `none` while too few ids were seen to tell."""
        if self._rises == self._falls:
            return "none"
        return "ascending" if self._rises else "descending"


class Position:
    """Where the next page begins: at the last embed of the page before, to notice when the list has moved."""

    def __init__(self) -> None:
        self.offset = 0
        self.last: int | None = None
        self._retreats = 0

    def must_step_back(self, ids: list[int], walked: Set[int]) -> bool:
        """Whether embeds before this page were deleted, so that others were skipped: its first embed was not walked."""
        has_moved = self.offset > 0 and self.last is not None and walked.isdisjoint(ids[:1])
        return has_moved and self._retreats < RETREAT_LIMIT

    def step_back(self, page_length: int) -> None:
        self.offset = max(self.offset - page_length + 1, 0)
        self._retreats += 1

    def go_on(self, ids: list[int]) -> None:
        # A page of one embed leaves no room for an overlap.
        self.offset, self.last = (self.offset + len(ids) - 1, ids[-1]) if len(ids) > 1 else (self.offset + 1, None)


class Repetition:
    """Whether the server answers the same list whichever page is requested."""

    def __init__(self) -> None:
        self._first_page: set[int] = set()
        self.is_repeated = False
        self.is_certain = False

    def is_whole(self, offset: int, ids: list[int]) -> bool:
        """Whether this is a later page that holds all embeds of the first one."""
        return offset > 0 and self._first_page.issubset(ids)

    def update_state(self, offset: int, ids: list[int], fresh: list[int]) -> None:
        """Once may also mean that embeds were added in front of the list. The next page makes it certain."""
        if offset == 0:
            self._first_page = set(ids)
        was_repeated, self.is_repeated = self.is_repeated, not fresh or self.is_whole(offset, ids)
        self.is_certain = was_repeated and self.is_repeated


class WholeWalk:
    """A walk over the whole list. While `has_next_page`, send `request` and pass the answer to `update_state`."""

    def __init__(self, shape: ListShape, page_size: int) -> None:
        self.has_next_page = True
        self._shape = shape
        self._page_size = page_size
        self._walked: set[int] = set()
        self._position = Position()
        self._sorting = Sorting()
        self._repetition = Repetition()
        self._trail = Trail()
        self._next_url: str | None = None
        self._is_announced = False

    @property
    def request(self) -> PageRequest:
        return PageRequest(self._position.offset, self._page_size, self._next_url)

    def update_state(self, page: Page) -> list[Json]:
        """The embeds of a page that were not walked before."""
        self._next_url, problem = self._trail.next_of(page)
        self._is_announced |= self._next_url is not None
        self._shape.problem = self._shape.problem or problem
        self._shape.total_count = self._shape.total_count if page.total is None else page.total
        ids = [embed_id_of(embed) for embed in page.items]
        if not self._is_announced and not page.is_unpaged:
            return self._by_offset(ids, page.items)
        self.has_next_page = self._next_url is not None
        return list(self._take(ids, page.items).values())

    def _by_offset(self, ids: list[int], embeds: list[Json]) -> list[Json]:
        offset, last = self._position.offset, self._position.last
        self._shape.page_length = max(self._shape.page_length, len(ids))
        if self._position.must_step_back(ids, self._walked) and not self._repetition.is_whole(offset, ids):
            self._position.step_back(self._shape.page_length)
            return []
        fresh = self._take(ids, embeds)
        self._repetition.update_state(offset, ids, list(fresh))
        self._position.go_on(ids)
        is_last_page = not ids or (not fresh and ids == [last])
        # With more embeds than requested, or the same list again, the server ignores paging, and this was everything.
        self.has_next_page = not (is_last_page or len(ids) > self._page_size or self._repetition.is_certain)
        self._shape.is_paged |= self.has_next_page and offset > 0 and not self._repetition.is_repeated
        return list(fresh.values())

    def _take(self, ids: list[int], embeds: list[Json]) -> dict[int, Json]:
        fresh = {id_: embed for id_, embed in zip(ids, embeds, strict=True) if id_ not in self._walked}
        self._walked.update(fresh)
        self._sorting.update_state(list(fresh))
        self._shape.listed_count = len(self._walked)
        self._shape.order = self._sorting.order
        return fresh


async def walk_all(
    fetch: FetchPage, shape: ListShape, *, page_size: int = PAGE_SIZE, page_limit: int = PAGE_LIMIT
) -> AsyncGenerator[list[Json]]:
    """Every embed, each once, page by page. Fills in `shape` on the way.

    Pages overlap by one embed. A page must begin with an embed that was walked, else the walk steps back by a page.
    Embeds added in front only repeat known ones, as long as fewer are added between two requests than a page holds.
    Once the server announces a next page, its announcements are followed to their end. The walk ends at an empty page,
    or when pages bring nothing new. Raises PageLimitError.
    """
    walk = WholeWalk(shape, page_size)
    for _ in range(page_limit):
        if fresh := walk.update_state(await fetch(walk.request)):
            yield fresh
        if not walk.has_next_page:
            return
    raise _too_long(page_limit, page_size)


async def one_ahead(pages: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same pages. The next page is requested while the present one is taken in."""
    coming = asyncio.create_task(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.create_task(anext(pages, None))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await pages.aclose()


class RecentWalk:
    """A walk over the new end of a sorted list. Send `request`, pass the answer to `update_state`, and repeat.

    `is_as_thought` turns false at a page that does not fit `shape`.
    """

    def __init__(self, shape: ListShape, look_back: int, page_size: int) -> None:
        self.has_next_page = True
        self.is_as_thought = True
        self._shape = shape
        self._page_size = page_size
        self._rises = shape.order == "ascending"
        self._look_back = look_back
        self._first_offset = self.offset = max(shape.listed_count - look_back, 0) if self._rises else 0
        self._last: int | None = None

    @property
    def request(self) -> PageRequest:
        return PageRequest(self.offset, self._page_size)

    def update_state(self, page: Page, ids: list[int], known: Set[int]) -> None:
        """Take in a page. `known` are those of its `ids` that an earlier walk listed."""
        self._shape.total_count = page.total
        is_as_asked = page.next_url is None and page.problem is None and not page.is_unpaged
        is_sorted = ids == sorted(set(ids), reverse=not self._rises)
        is_where_thought = self._stands_on_known_ground(ids, known) and self._goes_on(ids)
        self.is_as_thought = is_as_asked and is_sorted and is_where_thought
        self._last = ids[-1] if ids else None
        self.offset += max(len(ids) - 1, 1)
        is_far_enough = not self._rises and bool(known) and self.offset >= self._look_back
        self.has_next_page = self.is_as_thought and len(ids) > 1 and not is_far_enough

    def _stands_on_known_ground(self, ids: list[int], known: Set[int]) -> bool:
        """Whether no new embed can lie before the first page: it begins with a known embed, or the list descends."""
        if not self._rises or self.offset > self._first_offset or self.offset == 0:
            return True
        return ids[:1] == sorted(known)[:1] != []

    def _goes_on(self, ids: list[int]) -> bool:
        """Whether a later page goes on from the last embed of the one before.

        If not, embeds were deleted and others were skipped, or the server no longer pages. Embeds added in front of a
        descending list only repeat known ones.
        """
        if self._last is None:
            return True
        return ids[:1] == [self._last] if self._rises else self._last in ids and ids[1:][-1:] != [self._last]


async def walk_recent(
    fetch: FetchPage,
    shape: ListShape,
    known_among: Callable[[list[int]], set[int]],
    *,
    look_back: int,
    page_size: int = PAGE_SIZE,
    page_limit: int = PAGE_LIMIT,
) -> AsyncGenerator[list[Json] | None]:
    """The newest embeds of a list that was sorted by id: all unknown ones, and at least the last `look_back`.

    Ids grow with time, so new embeds are at one end. `known_among` returns those of some ids that were listed before.
    If the list does not fit `shape`, the last thing yielded is None, and the caller has to walk everything.
    """
    walk = RecentWalk(shape, look_back, page_size)
    for _ in range(page_limit):
        page = await fetch(walk.request)
        ids = [embed_id_of(embed) for embed in page.items]
        walk.update_state(page, ids, known_among(ids))
        yield page.items if walk.is_as_thought else None
        if not walk.has_next_page:
            return
    raise _too_long(page_limit, page_size)


def _too_long(page_limit: int, page_size: int) -> PageLimitError:
    return PageLimitError(
        f"GET /v1/embeds did not end within {page_limit} pages of {page_size}: the sweep stops, and cuts nothing off."
    )
