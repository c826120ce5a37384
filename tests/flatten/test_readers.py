"""The lake by every reader with its defaults: the same rows, and an event date that is one, whatever came."""

import json
from collections.abc import Callable
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.home.layout import Home
from tests.flatten.payloads import SECRETS, sign
from tests.flatten.test_days import delivery, event, land_in

Read = Callable[[Path], tuple[list[dict[str, Any]], str]]
"""Every row of a table, and the type of its event_date."""

# Without types of their own for what is asked of them here.
PARQUET: Any = import_module("pyarrow.parquet")
DATASET: Any = import_module("pyarrow.dataset")
PANDAS: Any = import_module("pandas")

COUNTS = {"data": {"validation_error_counts": {"item": {"MISSING": 2}}}}


def by_pyarrow(table: Path) -> tuple[list[dict[str, Any]], str]:
    found = PARQUET.read_table(table)
    return found.to_pylist(), str(found.schema.field("event_date").type)


def by_pyarrow_dataset(table: Path) -> tuple[list[dict[str, Any]], str]:
    found = DATASET.dataset(table, partitioning="hive").to_table()
    return found.to_pylist(), str(found.schema.field("event_date").type)


def by_pandas(table: Path) -> tuple[list[dict[str, Any]], str]:
    found = PANDAS.read_parquet(table)
    return found.to_dict("records"), str(found["event_date"].dtype)


def by_polars(table: Path) -> tuple[list[dict[str, Any]], str]:
    found = pl.read_parquet(table)
    return found.to_dicts(), str(found.schema["event_date"])


def by_duckdb(table: Path) -> tuple[list[dict[str, Any]], str]:
    found = duckdb.connect().sql(f"from read_parquet('{table}/*/*.parquet')")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return rows, str(found.types[found.columns.index("event_date")])


# To pyarrow, and so to pandas, a folder's value is a text.
READERS: dict[str, tuple[Read, str, Callable[[date], object]]] = {
    "pyarrow": (by_pyarrow, "dictionary<values=string, indices=int32, ordered=0>", str),
    "pyarrow.dataset": (by_pyarrow_dataset, "string", str),
    "pandas": (by_pandas, "category", str),
    "polars": (by_polars, "Date", lambda day: day),
    "duckdb": (by_duckdb, "DATE", lambda day: day),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "odd",
    [[], ["never"], [0], [0, "never"]],
    ids=["dated", "unreadable", "implausible", "both"],
)
def test_every_reader_finds_every_row(tmp_path: Path, reader: str, odd: list[object]) -> None:
    home = Home(tmp_path)
    read, expected_type, shown = READERS[reader]
    days = {"one": date(2024, 1, 24), "two": date(2024, 1, 25)}
    deliveries = [event("one", 1706112805.5, **COUNTS), event("two", 1706212805.5, **COUNTS)]
    deliveries += [event(f"odd-{at}", at, **COUNTS) for at in odd]
    land_in(home, "a", *map(delivery, deliveries))
    flatten_days(home, FlattenOptions())
    if 0 in odd:
        days["odd-0"] = date(1, 1, 1)
    expected = {uuid: shown(day) for uuid, day in days.items()}
    for table in (home.lake_embed_events, home.lake_validation_errors):
        rows, found_type = read(table)
        assert {row["event_uuid"]: row["event_date"] for row in rows} == expected
        assert len(rows) == len(expected)
        assert found_type == expected_type


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_misses_a_claim_for_want_of_a_date(tmp_path: Path, reader: str) -> None:
    """Readers take the columns of one file for those of all. A claim that is new is new in the odd files, too."""
    home = Home(tmp_path)
    read, _, _ = READERS[reader]
    for number, claims in enumerate([{"user_id": "u"}, {"user_id": "u", "plan": "pro"}]):
        token = sign(json.dumps(claims), SECRETS["client-1"])
        of_days = [event(f"{number}-{day}", 1706112805.5 + day * 86_400) for day in range(2)]
        odd = [event(f"{number}-never", "never"), event(f"{number}-odd", 0)] if number == 0 else []
        land_in(home, str(number), *(delivery(each, token=token) for each in of_days), *map(delivery, odd))
        flatten_days(home, FlattenOptions(), redo=["2024-01-27"])
        rows, _ = read(home.lake_embed_events)
        expected = {f"{earlier}-{day}" for earlier in range(number + 1) for day in range(2)} | {"0-odd"}
        assert {row["event_uuid"] for row in rows} == expected
        assert all("claim_user_id" in row for row in rows)
        assert all(("claim_plan" in row) == (number == 1) for row in rows)


def test_no_reader_is_told_of_the_categories_that_claims_are_written_from(tmp_path: Path) -> None:
    home = Home(tmp_path)
    token = sign(json.dumps({"user_id": "u", "seats": 7}), SECRETS["client-1"])
    land_in(home, "a", delivery(event("one"), token=token), delivery(event("two")))
    flatten_days(home, FlattenOptions(claim_types={"seats": "BIGINT"}))
    (path,) = home.lake_embed_events.glob("*/*.parquet")
    claims = {"claims": "large_string", "claim_user_id": "large_string", "claim_seats": "int64"}
    schema = PARQUET.read_schema(path)
    assert {name: str(schema.field(name).type) for name in claims} == claims
    dtypes = {"claims": pl.String(), "claim_user_id": pl.String(), "claim_seats": pl.Int64()}
    assert {name: pl.read_parquet_schema(path)[name] for name in claims} == dtypes


def test_the_folder_that_former_versions_called_unknown_goes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    land_in(home, "a", delivery(event("odd", 0)))
    flatten_days(home, FlattenOptions())
    for table in (home.lake_embed_events, home.lake_validation_errors):
        (folder,) = table.iterdir()
        folder.rename(table / "event_date=unknown")
    assert flatten_days(home, FlattenOptions()).dates == ["unknown"]
    assert by_duckdb(home.lake_embed_events)[1] == "DATE"
    assert len(by_duckdb(home.lake_embed_events)[0]) == 1
