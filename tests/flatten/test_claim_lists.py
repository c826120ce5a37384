"""Claim paths without end: the choice of columns is that over all paths, and a date that lists a few follows it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.flatten import claim_lists
from pipelines.flatten.claims import Seen
from pipelines.flatten.days import FlattenOptions, catalogues, flatten_days
from pipelines.home.layout import Home
from tests.flatten.flattening import land, read_table, token_reader, write_raw
from tests.flatten.payloads import SECRETS, sign
from tests.flatten.test_days import delivery, event

DATES = st.dictionaries(
    st.sampled_from(["2024-01-24", "2024-01-25", "2024-01-26", "unknown"]),
    # Few numbers, so that paths tie, and times of one date lie between those of another.
    st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(0, 5), max_size=12),
    max_size=4,
)
JANUARY_24, JANUARY_25 = 1706112805.5, 1706212805.5


@given(dates=DATES, limit=st.integers(1, 5))
def test_the_first_paths_of_each_date_make_the_choice_over_all_paths(
    dates: dict[str, dict[str, int]], limit: int
) -> None:
    total: dict[str, int] = {}
    listed: dict[str, list[claim_lists.ClaimRow]] = {}
    for date, paths in dates.items():
        for path, first in paths.items():
            total[path] = min(total.get(path, first), first)
        seen = {path: Seen({"string"}, 1, first, first) for path, first in paths.items()}
        kept = claim_lists.first_paths(seen, limit)
        assert len(kept) == min(limit, len(paths))
        listed[date] = claim_lists.ClaimsOfDate(seen, kept, {}).rows()
    none = pl.DataFrame(schema={"event_date": pl.String(), **claim_lists.CLAIM_RECORD})
    chosen = claim_lists.choose(claim_lists.replaced(none, listed), limit, {})
    assert set(chosen) == set(sorted(total, key=lambda path: (total[path], path))[:limit])


def land_claims(home: Home, name: str, uuid: str, created_at: float, claims: dict[str, Any]) -> None:
    token = sign(json.dumps(claims), "s")
    write_raw(home, land([delivery(event(uuid, created_at), token=token)], token_reader(SECRETS))[0], name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(claim_lists, "_SHORTEST_LIST", 3)
    return Home(tmp_path)


def test_a_date_before_2020_takes_no_column_from_another_claim(home: Home) -> None:
    options = FlattenOptions(claim_column_limit=2)
    land_claims(home, "a", "early", 0.0, {"aa": 1, "ab": 1, "plan": "pro"})
    land_claims(home, "b", "good", JANUARY_25, {"plan": "pro", "seats": 3})
    flatten_days(home, options)
    claims = catalogues(home)[1]
    assert set(claims.filter("is_column")["path"]) == {"plan", "seats"}
    first = dict(claims.select("path", "first_seen_at").iter_rows())
    assert (first["aa"], first["plan"]) == (None, first["seats"])


def test_a_date_follows_the_choice_in_paths_that_it_does_not_list(home: Home) -> None:
    options = FlattenOptions(claim_column_limit=3)
    land_claims(home, "a", "late", JANUARY_25, {f"id-{number}": number for number in range(10)} | {"plan": "pro"})
    report = flatten_days(home, options)
    assert report.days["unlisted_claim_count"].to_list() == [8]
    assert "claim_plan" not in read_table(home.lake_embed_events).columns
    land_claims(home, "b", "early", JANUARY_24, {"plan": "free"})
    assert flatten_days(home, options).dates == ["2024-01-24", "2024-01-25"]
    events = read_table(home.lake_embed_events)
    assert events["claim_plan"].to_list() == ["free", "pro"]
    assert sorted(name for name in events.columns if name.startswith("claim_")) == [
        "claim_id_0",
        "claim_id_1",
        "claim_plan",
    ]
    assert json.loads(events["claims"][1])["id-9"] == 9
    assert flatten_days(home, options).dates == []


def test_what_is_not_listed_is_counted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_lists, "_LONGEST_CATALOGUE", 3)
    options = FlattenOptions(claim_column_limit=1)
    land_claims(home, "a", "one", JANUARY_24, {"a": 1, "b": 1, "z": 1})
    land_claims(home, "b", "two", JANUARY_25, {"b": 1, "c": 1, "d": 1, "e": 1, "z": 1})
    flatten_days(home, options)
    days, claims = catalogues(home)
    # z is one of the first on the first date and not on the second, which has it, but does not say so.
    assert days["unlisted_claim_count"].to_list() == [0, 2]
    assert claims.select(
        "path", "is_column", "event_count", "coverage", "unlisted_date_count", "unlisted_path_count"
    ).rows() == [
        ("a", True, 1, 0.5, 0, 2),
        ("b", False, 2, 1.0, 0, 2),
        ("z", False, None, None, 1, 2),
    ]


def test_a_higher_limit_of_columns_lists_more_and_a_lower_one_as_many_as_before(home: Home) -> None:
    land_claims(home, "a", "one", JANUARY_24, {f"id-{number}": number for number in range(10)})
    assert flatten_days(home, FlattenOptions(claim_column_limit=2)).days["unlisted_claim_count"].to_list() == [7]
    assert flatten_days(home, FlattenOptions(claim_column_limit=9)).days["unlisted_claim_count"].to_list() == [1]
    columns = [name for name in read_table(home.lake_embed_events).columns if name.startswith("claim_")]
    assert columns == [f"claim_id_{number}" for number in range(9)]
    assert flatten_days(home, FlattenOptions(claim_column_limit=1)).days["unlisted_claim_count"].to_list() == [7]
    assert catalogues(home)[1]["column_name"].drop_nulls().to_list() == ["claim_id_0"]
