"""The predicate for rows whose unit changed names exactly these, and lets DuckDB pass over the blocks of others."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.warehouse.changes import Changes
from tests.proving import examples

# Rows of one row group.
BLOCK = 122_880

VALUES = {
    "embed_id": st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50),
    "event_date": st.dates() | st.dates(date(2025, 1, 1), date(2025, 3, 1)),
    "lake_partition": st.dates(date(2025, 1, 1), date(2025, 3, 1)).map(str) | st.sampled_from(["unknown", "it's", ""]),
}


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("unit", VALUES)
@hypothesis_settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
def test_the_predicate_names_the_changed_values_and_no_others(unit: str, data: st.DataObject) -> None:
    held = data.draw(st.lists(VALUES[unit] | st.none(), min_size=1, max_size=30, unique=True))
    noted = [data.draw(st.lists(st.sampled_from(held), max_size=10)) for _ in range(2)]
    with duckdb.connect() as connection:
        changes = Changes(connection)
        dtype = {"embed_id": "bigint", "event_date": "date", "lake_partition": "varchar"}[unit]
        connection.execute(f"create table held as select unnest($1::{dtype}[]) as {unit}", [held])
        expected = set[object]()
        for values in noted:
            changes.add(unit, f"select unnest($1::{dtype}[])", [values])
            expected.update(values)
            found = connection.execute(f"from held where {changes.predicate(unit)}").fetchall()
            assert sorted(found, key=repr) == sorted(((value,) for value in expected), key=repr)


def test_a_date_that_python_does_not_know_is_named_as_well() -> None:
    with duckdb.connect() as connection:
        changes = Changes(connection)
        connection.execute("create table held as select date '20000-01-01' as event_date")
        changes.add("event_date", "select unnest([date '20000-01-01', date '0044-03-15 (BC)'])")
        assert connection.execute(f"select count(*) from held where {changes.predicate('event_date')}").fetchall() == [
            (1,)
        ]


def test_blocks_between_changed_values_are_not_read_whatever_joins_tell_each_other(tmp_path: Path) -> None:
    """DuckDB narrows what it reads by what the other side of a join held, but only where that side was read first."""
    blocks, first_day = 20, date(2025, 1, 1)
    last = (blocks - 1) * BLOCK
    with duckdb.connect(str(tmp_path / "held.duckdb")) as connection:
        connection.execute(
            f"create table held as select number as embed_id, $1::date + (number // {BLOCK})::int as event_date "
            f"from range({blocks * BLOCK}) as numbers(number)",
            [first_day],
        )
        changes = Changes(connection)
        changes.add("embed_id", f"select unnest(range(5)) union all select unnest(range({last}, {last + 1_000}))")
        changes.add("event_date", "select unnest($1)", [[first_day, first_day + timedelta(days=blocks - 1)]])
        connection.execute("set disabled_optimizers = 'join_filter_pushdown'")
        for unit, row_count in (("embed_id", 1_005), ("event_date", 2 * BLOCK)):
            profile = tmp_path / f"{unit}.json"
            connection.execute("pragma enable_profiling = 'json'")
            connection.execute(f"set profiling_output = '{profile}'")
            found = connection.execute(f"select count(*) from held where {changes.predicate(unit)}").fetchall()
            connection.execute("pragma disable_profiling")
            assert found == [(row_count,)]
            assert _blocks_read(json.loads(profile.read_text())) == (2, blocks)


def _blocks_read(profile: dict[str, Any]) -> tuple[int, int]:
    """Row groups of the table `held` that were read, and that it has."""
    todo = list(profile["operator"])
    while todo:
        operator = todo.pop()
        if operator["extra_info"].get("Table", "").endswith(".held"):
            return operator["row_groups_scanned"], operator["total_row_groups_to_scan"]
        todo += operator.get("children", [])
    raise AssertionError("The table was not read.")
