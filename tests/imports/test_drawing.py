"""The page of imports is as the imports are, and shows no arrow that leads up."""

from tests.imports.drawing import (
    PAGE,
    arrows_between,
    contract,
    direct,
    drawing,
    page,
    room_of,
    rooms_from_above,
    split_by_direction,
)


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == drawing(), "run `make imports`"


def test_every_import_points_down_but_those_that_the_contract_names() -> None:
    rooms = rooms_from_above()
    named = {tuple(room_of(module) for module in line.split(" -> ")) for line in contract().get("ignore_imports", [])}
    assert split_by_direction(rooms, arrows_between(rooms))[1] == named


def test_an_arrow_that_leads_up_is_counted_and_drawn() -> None:
    text = page(["a", "b", "c"], {("a", "b"), ("c", "b")})
    assert "3 rooms, 2 arrows, 1 of them upward." in text
    assert 'c_["c"] --> b_["b"]' in text


def test_the_picture_leaves_out_what_a_longer_way_stands_for() -> None:
    assert direct({("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}) == {("a", "b"), ("b", "c"), ("a", "d")}
