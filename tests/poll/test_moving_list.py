"""The whole walk against a list that moves between any two requests: what was listed all the while is found."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.oneschema.paging import Page, PageRequest
from pipelines.poll.discovery import ListShape, walk_all
from tests.poll.sweeping import id_of
from tests.proving import examples


@dataclass
class MovingList:
    """A server whose list is in its order, however it changes; `moves` say what happens before each request.

    The order is that of the ids, that of the ids backwards, or a shuffled one that stays as it is: new embeds then
    stand anywhere.
    """

    ids: list[int]
    place: Callable[[int], int]
    cap: int | None
    moves: list[tuple[int, int, list[int]]]
    next_new: int = 1_000
    next_old: int = 0
    throughout: set[int] = field(default_factory=set[int])
    request_count: int = 0

    def __post_init__(self) -> None:
        self.throughout = set(self.ids)

    def _move(self, newer: int, older: int, deleted: list[int]) -> None:
        for index in deleted:
            if self.ids:
                self.ids.pop(index % len(self.ids))
        self.ids += range(self.next_new, self.next_new + newer)
        # Embeds of another environment, say, that the key comes to see: they are older than all others.
        self.ids += range(self.next_old - older, self.next_old)
        self.next_new, self.next_old = self.next_new + newer, self.next_old - older

    async def __call__(self, request: PageRequest) -> Page:
        if self.request_count and self.moves:
            self._move(*self.moves.pop())
            self.throughout &= set(self.ids)
        self.request_count += 1
        listed = sorted(self.ids, key=self.place)
        if self.cap is not None:
            listed = listed[request.offset : request.offset + min(request.count, self.cap)]
        return Page([{"id": embed_id} for embed_id in listed])


def rising(embed_id: int) -> int:
    return embed_id


def falling(embed_id: int) -> int:
    return -embed_id


def shuffled(embed_id: int) -> int:
    return (embed_id * 2654435761) % 2**32


def found_by_walking(server: MovingList, page_size: int) -> set[int]:
    async def run() -> list[int]:
        return [id_of(embed) async for page in walk_all(server, ListShape(), page_size=page_size) for embed in page]

    found = asyncio.run(run())
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.slow
@pytest.mark.parametrize("place", [rising, falling, shuffled])
@pytest.mark.parametrize("paging", ["ignored", "honoured", "capped"])
@pytest.mark.prove
@settings(max_examples=examples(200))
@given(data=st.data())
def test_every_embed_that_was_listed_throughout_is_found(
    place: Callable[[int], int], paging: str, data: st.DataObject
) -> None:
    page_size = data.draw(st.integers(3, 30), "page size")
    cap = {"ignored": None, "honoured": page_size, "capped": data.draw(st.integers(3, page_size), "cap")}[paging]
    # Fewer in front than a page holds beside its overlap: with as many, the walk sees one page for ever.
    in_front = (cap or 10) - 2
    server = MovingList(
        ids=data.draw(st.lists(st.integers(1, 999), unique=True, max_size=80), "ids"),
        place=place,
        cap=cap,
        moves=data.draw(
            st.lists(
                st.tuples(
                    st.integers(0, in_front // 2),
                    st.integers(0, in_front // 2),
                    st.lists(st.integers(0, 200), max_size=4),
                ),
                max_size=30,
            ),
            "newer, older and deleted embeds before each request",
        ),
    )
    found = found_by_walking(server, page_size)
    assert server.throughout <= found
