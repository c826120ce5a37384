"""Every embed is found whatever the list does, and the new ones in few requests where its order allows it."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import TransientError
from pipelines.oneschema.paging import Page, PageRequest
from pipelines.poll.discovery import ListShape, PageLimitError, one_ahead, walk_all, walk_recent
from tests.poll.sweeping import id_of
from tests.proving import examples

ORDERS = ("ascending", "descending", "none")


class FakeList:
    """A list of embeds that behaves as told; `on_page` may change `ids` between two requests."""

    def __init__(self, ids: list[int], order: str, paging: str, cap: int, on_page: Callable[[int], None] | None = None):
        self.ids, self.order, self.paging, self.cap = ids, order, paging, cap
        self.requests = 0
        self.on_page = on_page

    async def __call__(self, request: PageRequest) -> Page:
        if self.on_page:
            self.on_page(self.requests)
        self.requests += 1
        ids = sorted(self.ids, reverse=self.order == "descending")
        if self.order == "none":
            ids.sort(key=lambda embed_id: (embed_id * 2654435761) % 2**32)
        if self.paging != "ignored":
            count = min(request.count, self.cap) if self.paging == "capped" else request.count
            ids = ids[request.offset : request.offset + count]
        return page_of(ids)


def page_of(ids: Iterable[int]) -> Page:
    return Page([{"id": embed_id} for embed_id in ids])


def walked(pages: FakeList, shape: ListShape, **arguments: Any) -> list[int]:
    async def run() -> list[int]:
        return [id_of(embed) async for page in walk_all(pages, shape, **arguments) for embed in page]

    return asyncio.run(run())


def recent(pages: FakeList, shape: ListShape, known: set[int], look_back: int, page_size: int) -> list[int] | None:
    async def run() -> list[int] | None:
        found: list[int] = []
        async for page in walk_recent(pages, shape, known.intersection, look_back=look_back, page_size=page_size):
            if page is None:
                return None
            found += [id_of(embed) for embed in page]
        return found

    return asyncio.run(run())


lists = st.builds(
    FakeList,
    st.lists(st.integers(0, 10_000), unique=True, max_size=60),
    st.sampled_from(ORDERS),
    st.sampled_from(["ignored", "honoured", "capped"]),
    st.integers(1, 20),
)


@pytest.mark.prove
@settings(max_examples=examples(500))
@given(lists, st.integers(1, 30))
def test_the_whole_walk_finds_every_embed_once(pages: FakeList, page_size: int) -> None:
    found = walked(pages, ListShape(), page_size=page_size)
    assert sorted(found) == sorted(pages.ids)


@pytest.mark.prove
@settings(max_examples=examples(300))
@given(lists, st.data())
def test_embeds_deleted_or_added_on_the_way_hide_no_other(pages: FakeList, data: st.DataObject) -> None:
    deleted: set[int] = set(data.draw(st.lists(st.sampled_from(pages.ids), max_size=5))) if pages.ids else set()
    stays = set(pages.ids) - deleted
    moment = data.draw(st.integers(1, 5))
    added = iter(range(20_000, 20_005))

    def change(request: int) -> None:
        if request == moment:
            pages.ids = [embed_id for embed_id in pages.ids if embed_id not in deleted] + [next(added)]

    # A page of one embed leaves no room for the overlap that shows a change.
    pages.cap = max(pages.cap, 2)
    pages.on_page = change
    assert stays <= set(walked(pages, ListShape(), page_size=7))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cap", [3, 10])
def test_embeds_deleted_at_the_head_before_every_request_hide_no_other(order: str, cap: int) -> None:
    pages = FakeList(list(range(200)), order, "capped", cap)
    seen: list[int] = []

    def delete_first(request: int) -> None:
        # Two at once: the overlap makes up for one.
        for first in [embed_id for embed_id in seen if embed_id in pages.ids][: 2 * (request % 2)]:
            pages.ids.remove(first)

    async def run() -> None:
        async for page in walk_all(pages, ListShape(), page_size=10):
            seen.extend(id_of(embed) for embed in page)

    pages.on_page = delete_first
    asyncio.run(run())
    assert len(pages.ids) < 180
    assert sorted(seen) == list(range(200))


def test_a_list_in_another_order_at_each_request_ends() -> None:
    random = Random(1)

    async def shuffled(request: PageRequest) -> Page:
        return page_of(random.sample(range(300), 300)[request.offset : request.offset + request.count])

    async def run() -> int:
        return sum([len(page) async for page in walk_all(shuffled, ListShape(), page_size=10)])

    assert 0 < asyncio.run(run()) <= 300


@pytest.mark.parametrize("order", ORDERS)
def test_a_server_that_ignores_paging_is_known_as_one_though_embeds_are_added(order: str) -> None:
    pages = FakeList([1, 2, 3], order, "ignored", 1, lambda _: pages.ids.append(len(pages.ids) + 1))
    shape = ListShape()
    walked(pages, shape, page_limit=200)
    assert not shape.allows_recent


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.prove
@settings(max_examples=examples(300))
@given(st.data())
def test_the_recent_walk_misses_no_new_embed_that_deletions_let_slip_past(order: str, data: st.DataObject) -> None:
    pages = FakeList(list(range(40)), order, "honoured", 6)
    shape = ListShape()
    walked(pages, shape, page_size=6)
    pages.ids, pages.requests = list(range(70)), 0
    moment = data.draw(st.integers(1, 6))
    deleted: set[int] = set(data.draw(st.lists(st.sampled_from(pages.ids), max_size=8)))

    def delete(request: int) -> None:
        if request == moment:
            pages.ids = [embed_id for embed_id in pages.ids if embed_id not in deleted]

    pages.on_page = delete
    found = recent(pages, shape, set(range(40)), 12, 6)
    assert found is None or set(range(40, 70)) - deleted <= set(found)


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_a_server_that_stops_paging_is_said_to_have_stopped(order: str) -> None:
    pages = FakeList(list(range(30)), order, "honoured", 6)
    shape = ListShape()
    walked(pages, shape, page_size=6)
    pages.paging, pages.requests = "ignored", 0
    assert recent(pages, shape, set(range(30)), 100, 6) is None
    assert pages.requests <= 3


def test_pages_of_one_embed_leave_no_short_way() -> None:
    pages = FakeList(list(range(30)), "ascending", "capped", 1)
    shape = ListShape()
    assert sorted(walked(pages, shape)) == pages.ids
    assert not shape.allows_recent


@pytest.mark.slow
@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.prove
@settings(max_examples=examples(200))
@given(st.integers(3, 60), st.integers(0, 25), st.sampled_from(["honoured", "capped"]), st.integers(2, 12), st.data())
def test_the_recent_walk_finds_every_new_embed_or_says_that_it_cannot(
    order: str, known_count: int, new_count: int, paging: str, page_size: int, data: st.DataObject
) -> None:
    pages = FakeList(list(range(known_count)), order, paging, page_size)
    shape = ListShape()
    walked(pages, shape, page_size=page_size)
    if not shape.allows_recent:
        return
    pages.ids = list(range(known_count + new_count))
    for deleted in data.draw(st.lists(st.sampled_from(pages.ids), max_size=4, unique=True)):
        pages.ids.remove(deleted)
    look_back = data.draw(st.integers(1, 20))
    found = recent(pages, shape, set(range(known_count)), look_back, page_size)
    assert found is None or {embed_id for embed_id in pages.ids if embed_id >= known_count} <= set(found)


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_the_recent_walk_asks_for_the_new_end_alone(order: str) -> None:
    pages = FakeList(list(range(200_000)), order, "honoured", 1000)
    shape = ListShape()
    walked(pages, shape)
    pages.ids = list(range(200_050))
    pages.requests = 0
    found = recent(pages, shape, set(range(200_000)), 2_500, 1000)
    assert found is not None
    assert set(range(200_000, 200_050)) <= set(found)
    assert pages.requests <= 4


def test_a_list_that_is_no_longer_sorted_is_said_to_be_so() -> None:
    pages = FakeList(list(range(100)), "ascending", "honoured", 10)
    shape = ListShape()
    walked(pages, shape, page_size=10)
    pages.order = "none"
    assert recent(pages, shape, set(range(100)), 30, 10) is None


def test_a_list_without_end_raises_and_is_not_cut_off() -> None:
    numbers = itertools.count()

    async def endless(request: PageRequest) -> Page:
        return page_of(itertools.islice(numbers, request.count))

    async def run() -> None:
        async for _ in walk_all(endless, ListShape(), page_size=5, page_limit=50):
            pass

    with pytest.raises(PageLimitError, match="50 pages"):
        asyncio.run(run())


def test_the_next_page_is_asked_for_while_one_is_taken_in() -> None:
    asked: list[int] = []
    asked_when_taken: list[list[int]] = []

    async def pages() -> AsyncGenerator[int]:
        for number in (1, 2, 3):
            asked.append(number)
            yield number

    async def run() -> None:
        async for _ in one_ahead(pages()):
            await asyncio.sleep(0)
            asked_when_taken.append(list(asked))

    asyncio.run(run())
    assert asked_when_taken == [[1, 2], [1, 2, 3], [1, 2, 3]]


def test_a_page_that_fails_costs_none_before_it_and_a_walk_left_early_is_ended() -> None:
    taken: list[int] = []
    ended: list[str] = []

    async def pages() -> AsyncGenerator[int]:
        try:
            yield 1
            raise TransientError("the second page")
        finally:
            ended.append("failed")

    async def endless() -> AsyncGenerator[int]:
        try:
            while True:
                yield 0
                await asyncio.Event().wait()
        finally:
            ended.append("left")

    async def take_all() -> None:
        async for page in one_ahead(pages()):
            await asyncio.sleep(0)
            taken.append(page)

    async def leave_early() -> None:
        walk = one_ahead(endless())
        assert await anext(walk) == 0
        await walk.aclose()

    with pytest.raises(TransientError, match="the second page"):
        asyncio.run(take_all())
    assert taken == [1]
    asyncio.run(leave_early())
    assert ended == ["failed", "left"]
