"""Finding the embeds, on a list whose order and paging are not documented.

The list is asked with `offset` and `count`. A server may honour both, cap the count, or ignore both and answer
everything every time; or it announces the next page itself, which is then followed. `walk_all` finds every embed
whichever it does. `walk_recent` finds the new ones in few requests where the list turned out to be sorted by id, and
says so when it could not.
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

# 10,000,000 embeds at PAGE_SIZE; a server that never ends its list must not be followed forever, nor cut off silently.
PAGE_LIMIT = 10_000

# How often a walk steps back because the list moved under it; one in another order at each request would never end.
RETREAT_LIMIT = 100


# Of the largest embed id: 2**63 - 1.
_ID_DIGITS = 19


class PageLimitError(SourceError):
    """The list did not end within PAGE_LIMIT pages."""


@dataclass
class ListShape:
    """What a walk over the whole list found out about the server.

    `total_count` is what the server says, `missing_count` how many fewer came in a whole walk and its repetition,
    `problem` why an announced page was not asked for.
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
        """New embeds can be found without walking everything; pages of one embed leave no room for an overlap."""
        return self.is_paged and self.order != "none" and self.page_length > 1


def embed_id_of(summary: Json) -> int:
    """The id of an embed summary; for one without a readable id, a negative number that stands for its content."""
    value = summary.get("id") if isinstance(summary, dict) else None
    # Python refuses to read an integer of more digits than an id can have.
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
        """`none` also while too few ids were seen to tell."""
        if self._rises == self._falls:
            return "none"
        return "ascending" if self._rises else "descending"


class Position:
    """Where the next page begins: at the last embed of the page before, so that a list that moved is noticed."""

    def __init__(self) -> None:
        self.offset = 0
        self.last: int | None = None
        self._retreats = 0

    def must_step_back(self, ids: list[int], walked: Set[int]) -> bool:
        """Embeds before this page were deleted, and others have slipped past: it begins with one not walked."""
        has_moved = self.offset > 0 and self.last is not None and walked.isdisjoint(ids[:1])
        return has_moved and self._retreats < RETREAT_LIMIT

    def step_back(self, page_length: int) -> None:
        self.offset = max(self.offset - page_length + 1, 0)
        self._retreats += 1

    def go_on(self, ids: list[int]) -> None:
        # A page of one embed leaves no room for an overlap.
        self.offset, self.last = (self.offset + len(ids) - 1, ids[-1]) if len(ids) > 1 else (self.offset + 1, None)


class Repetition:
    """Whether the server answers the same list whatever page is asked for."""

    def __init__(self) -> None:
        self._first_page: set[int] = set()
        self.is_repeated = False
        self.is_certain = False

    def is_whole(self, offset: int, ids: list[int]) -> bool:
        """A later page that holds all of the first one."""
        return offset > 0 and self._first_page.issubset(ids)

    def update_state(self, offset: int, ids: list[int], fresh: list[int]) -> None:
        """Once may also be embeds that were added in front of the list; the next page makes it certain."""
        if offset == 0:
            self._first_page = set(ids)
        was_repeated, self.is_repeated = self.is_repeated, not fresh or self.is_whole(offset, ids)
        self.is_certain = was_repeated and self.is_repeated


class WholeWalk:
    """A walk over the whole list: ask for `request`, hand the answer to `update_state`, while `has_next_page`."""

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
        # More than was asked for, or the same list again: the server ignores paging, and this was everything.
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
    """Every embed, each once, page by page; `shape` is filled in on the way.

    Pages overlap by one embed. A page has to begin with an embed that was walked, else the walk steps back by a page.
    Embeds added in front only bring known ones again, as long as they are fewer between two requests than a page holds.
    Once the server announces a next page, its announcements are followed to their end.
    The walk ends at an empty page, or when pages bring nothing new. Raises PageLimitError.
    """
    walk = WholeWalk(shape, page_size)
    for _ in range(page_limit):
        if fresh := walk.update_state(await fetch(walk.request)):
            yield fresh
        if not walk.has_next_page:
            return
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


class RecentWalk:
    """A walk over the new end of a sorted list: ask for `request`, hand the answer to `update_state`, and so on.

    `is_as_thought` turns false at a page that shows that the list is not as `shape` has it.
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
        """Take in a page; `known` are those of its `ids` that were listed by an earlier walk."""
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
        """The first page of an ascending list begins with a known embed, else new ones may lie before it."""
        if not self._rises or self.offset > self._first_offset or self.offset == 0:
            return True
        return ids[:1] == sorted(known)[:1] != []

    def _goes_on(self, ids: list[int]) -> bool:
        """A later page goes on from the last embed of the one before.

        Else embeds were deleted and others slipped past, or the server does not page any more. Embeds added in front of
        a descending list bring known ones again.
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
    """The newest embeds of a list that was sorted by id: all that are not known, and at least the last `look_back`.

    Ids grow with time, so new embeds stand at one end; `known_among` tells which of some ids were listed before. Yields
    None, as the last thing, where the list is not as `shape` has it: the caller then walks everything.
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
        f"GET /v1/embeds did not end within {page_limit} pages of {page_size}: nothing was cut off, the sweep stops."
    )
