"""Counts of more pairs of column key and error code than the limit: the event stays, without any of them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.home.layout import Home
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.flatten.flattening import land, read_table, token_reader, write_raw
from tests.flatten.test_days import delivery, event

THREE = FlattenOptions(column_key_limit=3)


def land_counts(home: Home, counts: dict[str, dict[str, Any]]) -> None:
    """An event for each of these counts, by uuid."""
    deliveries = [delivery(event(uuid, data={"validation_error_counts": of})) for uuid, of in counts.items()]
    write_raw(home, land(deliveries, token_reader({}))[0], "a")


def reported(home: Home) -> dict[str, int | None]:
    """Rows of validation errors by event, None for an event that carries no counts."""
    errors = dict(read_table(home.lake_validation_errors)["event_uuid"].value_counts().iter_rows())
    events = read_table(home.lake_embed_events).select("event_uuid", "has_error_counts")
    return {uuid: errors.get(uuid, 0) if has_counts else None for uuid, has_counts in events.iter_rows()}


@pytest.mark.parametrize(
    ("counts", "rows"),
    [
        ({"a": {"X": 1, "Y": 1, "Z": 1}}, 3),
        ({"a": {"X": 1}, "b": {"X": 1}, "c": {"X": 1}}, 3),
        ({"a": {"X": 1}, "b": {"X": 1}, "c": {"X": 1}, "d": {"X": 1}}, None),
        ({"a": {"X": 1, "Y": 1}, "b": {"X": 1, "Y": 1}}, None),
        # Texts that look like more pairs than there are.
        ({'":1": ': {'":2,': 1, ":3": 1}}, 2),
        ({":1": {":2": 1, ":3": 1, ":4": 1}}, 3),
        # What is not a count, or not a column, is bounded as well.
        ({"a": {"X": "x", "Y": "x", "Z": "x", "W": "x"}}, None),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, None),
        ({"a": {}, "b": {}, "c": {}, "d": {}}, None),
        ({"a": {}, "b": {}, "c": {}}, 0),
    ],
)
def test_counts_beyond_the_limit_are_not_there(tmp_path: Path, counts: dict[str, Any], rows: int | None) -> None:
    home = Home(tmp_path)
    land_counts(home, {"odd": counts, "good": {"a": {"X": 1}}})
    report = flatten_days(home, THREE)
    assert reported(home) == {"odd": rows, "good": 1}
    assert report.event_count == 2
    (kept,) = read_table(home.lake_embed_events).filter(pl.col("event_uuid") == "odd").iter_rows(named=True)
    assert json.loads(kept["data"]) == {"validation_error_counts": counts}
    assert kept["has_unreadable_error_counts"] == (rows is None)
    if rows is None:
        (row,) = read_table(home.quarantine).iter_rows(named=True)
        assert (row["level"], row["event_uuid"], row["field"]) == ("field", "odd", "data.validation_error_counts")
        assert json.loads(row["payload"]) == counts
        assert "EMBED_ANALYTICS_COLUMN_KEY_LIMIT" in row["reason"]
    else:
        assert report.field_quarantined_count == 0


def test_another_limit_reads_them_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    land_counts(home, {"one": {"a": {"X": 1, "Y": 1, "Z": 1, "W": 1}}})
    flatten_days(home, THREE)
    assert reported(home) == {"one": None}
    assert flatten_days(home, FlattenOptions()).dates == ["2024-01-24"]
    assert reported(home) == {"one": 4}
    assert not list(home.quarantine.rglob("*.parquet"))


@pytest.mark.slow
def test_a_check_says_which_event_has_no_counts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    land_counts(home, {"odd": {f"column {n}": {"X": 1} for n in range(4)}, "good": {"a": {"X": 1}}})
    flatten_days(home, THREE)
    found = {check.name: check for check in build(home, BuildOptions()).failed_checks}
    assert found["error_counts_kept"].severity == "warn"
    assert [row["event_uuid"] for row in found["error_counts_kept"].sample] == ["odd"]
    with connect_published(home) as connection:
        counts = connection.execute(
            "select event_count, first_error_count, last_error_count from fct_embeds"
        ).fetchone()
    assert counts == (2, 1, None), "what the last report says is not known"
    flatten_days(home, FlattenOptions())
    assert "error_counts_kept" not in {check.name for check in build(home, BuildOptions()).failed_checks}
