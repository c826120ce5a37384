"""What a server announces of its pages is followed, and what its total says is compared with what came."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.oneschema.paging import AnnouncedWalk, Page, read_page, shortfall
from pipelines.simulator.options import Order, Paging, SimulatorOptions
from pipelines.simulator.server import running_simulator
from pipelines.simulator.truth import Truth
from tests.poll.sweeping import raw_events, raw_sweeps, settings_for, sweep

ASKED = "https://api.vendor.example/v1/embeds?offset=40&count=20"


def page_of(answer: Any, url: str = ASKED, **headers: str) -> Page | None:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_page(answer, httpx.Response(200, headers=names, request=httpx.Request("GET", url)))


@pytest.mark.slow
@pytest.mark.parametrize("paging", ["linked", "wrapped"])
@pytest.mark.parametrize("list_order", ["ascending", "shuffled"])
def test_announced_pages_of_both_lists_are_followed_to_the_end(
    paging: Paging, list_order: Order, tmp_path: Path
) -> None:
    options = SimulatorOptions(embeds=150, days=6, paging=paging, page_cap=4, list_order=list_order)
    with running_simulator(options) as simulator:
        settings = settings_for(simulator, tmp_path)
        report = sweep(settings)
        true = {event["uuid"] for event in Truth(simulator.simulation).events()}
        assert set(raw_events(tmp_path)["event_uuid"]) == true
        assert (report.listing.listed_count, report.failures) == (len(simulator.simulation.listed_ids()), [])
        # Bodies that are known are known page by page.
        again = sweep(settings, "backfill")
        assert (again.landed_event_count, again.failures) == (0, [])


@pytest.mark.parametrize("paging", ["ignored", "honoured", "capped", "linked"])
def test_a_total_that_says_more_than_came_is_said_at_every_sweep_until_it_agrees(
    paging: Paging, tmp_path: Path
) -> None:
    options = SimulatorOptions(
        embeds=60, days=4, paging=paging, page_cap=25, announces_total=True, surplus_total=3, list_order="ascending"
    )
    with running_simulator(options) as simulator:
        settings = settings_for(simulator, tmp_path)
        count = len(simulator.simulation.listed_ids())
        for kind in ("refresh", "refresh", "reconcile"):
            report = sweep(settings, kind)
            assert (report.listing.total_count, report.is_complete) == (count + 3, True)
            (failure,) = report.failures
            assert failure.error.startswith(f"GET /v1/embeds says that there are {count + 3}, and {count} came")
        simulator.throw(surplus_total=0)
        assert sweep(settings, "reconcile").failures == []
    assert raw_sweeps(tmp_path)["list_total_count"].to_list() == [count + 3] * 3 + [count]


def test_a_server_that_refuses_offset_and_count_is_asked_without_them(tmp_path: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=60, days=4, paging="refused")) as simulator:
        report = sweep(settings_for(simulator, tmp_path))
        assert report.listing.listed_count == len(simulator.simulation.listed_ids())
        assert report.failures == []


@pytest.mark.parametrize(
    ("beside", "next_url"),
    [
        ({"next_cursor": "a b"}, "https://api.vendor.example/v1/embeds?count=20&cursor=a+b"),
        ({"pagination": {"next_page": 3}}, "https://api.vendor.example/v1/embeds?count=20&page=3"),
        ({"meta": {"nextPageToken": "t"}}, "https://api.vendor.example/v1/embeds?count=20&page_token=t"),
        ({"links": {"next": {"href": "/v1/embeds?page=2"}}}, "https://api.vendor.example/v1/embeds?page=2"),
        ({"next": "?page=2"}, "https://api.vendor.example/v1/embeds?page=2"),
        ({"cursor": "c", "has_more": True}, "https://api.vendor.example/v1/embeds?count=20&cursor=c"),
        ({"cursor": "c", "has_more": False}, None),
        ({"next_cursor": None}, None),
        ({"next_cursor": ""}, None),
        ({"cursors": {"before": "b"}}, None),
    ],
)
def test_a_cursor_beside_the_array_is_asked_for_by_its_name(beside: dict[str, Any], next_url: str | None) -> None:
    page = page_of({"embeds": [{"id": 1}], **beside})
    assert page is not None
    assert (page.items, page.next_url, page.problem) == ([{"id": 1}], next_url, None)


@pytest.mark.parametrize(
    "link", ["https://other.example/v1/embeds?page=2", "http://api.vendor.example/v1/embeds?page=2", "//evil.example/"]
)
def test_a_next_page_at_another_server_is_not_asked_and_is_said(link: str) -> None:
    page = page_of([], Link=f'<{link}>; rel="next"')
    assert page is not None
    assert page.next_url is None
    assert page.problem == "names a next page at another server, which is not followed"


def test_an_object_without_one_array_is_no_page() -> None:
    assert page_of({"code": "x", "data": {}}) is None
    assert page_of({"a": [], "b": []}) is None
    assert page_of("text") is None


def test_pages_that_lead_back_end() -> None:
    walk = AnnouncedWalk()
    for _ in range(10):
        if walk.has_next_page:
            walk.update_state(Page([1], next_url="https://api.vendor.example/v1/embeds?page=2"))
    assert (walk.items, walk.problem) == ([1, 1], "names a next page that was already requested")


@pytest.mark.parametrize(("total", "came", "is_short"), [(None, 0, False), (5, 5, False), (4, 5, False), (6, 5, True)])
def test_only_a_total_that_says_more_is_a_shortfall(total: int | None, came: int, *, is_short: bool) -> None:
    assert (shortfall(total, came) is not None) == is_short


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["next", "next_url", "cursor", "links", "meta", "total", "data", "href"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_no_answer_and_no_header_raises_or_leads_to_another_server(answer: Any, link: str) -> None:
    page = page_of(answer, Link=f'<{link}>; rel="next"')
    if page is not None and page.next_url is not None:
        assert httpx.URL(page.next_url).host == "api.vendor.example"
