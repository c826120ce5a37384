"""How values are read, by both roads: Polars for the documented types, Python for the others."""

from datetime import datetime

import polars as pl
import pytest

from pipelines.oneschema.reading import Unreadable, microseconds, read_count, read_integer, read_timestamp


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1706112805.512352, "2024-01-24T16:13:25.512352"),
        (1706112805, "2024-01-24T16:13:25"),
        ("1706112805", "2024-01-24T16:13:25"),
        ("1706112805.512352", "2024-01-24T16:13:25.512352"),
        (1706112805512, "2024-01-24T16:13:25.512"),
        (1706112805512.352, "2024-01-24T16:13:25.512352"),
        ("1706112805512", "2024-01-24T16:13:25.512"),
        ("2024-01-24T16:13:25.512352Z", "2024-01-24T16:13:25.512352"),
        ("2024-01-24 16:13:25 UTC", "2024-01-24T16:13:25"),
        ("2024-01-24t16:13z", "2024-01-24T16:13:00"),
        ("2024-01-24T21:58:25+0545", "2024-01-24T16:13:25"),
        ("2024-01-24T16:13:25.5123525Z", "2024-01-24T16:13:25.512352"),
        # Ties go to the even microsecond; 2.5e-6 is a double above the tie.
        (1706112805.0078125, "2024-01-24T16:13:25.007812"),
        (1706112805.0234375, "2024-01-24T16:13:25.023438"),
        (2.5e-06, "1970-01-01T00:00:00.000003"),
        (-1e-20, "1970-01-01T00:00:00"),
        (1e12, "2001-09-09T01:46:40"),
        (1e14, "5138-11-16T09:46:40"),
        (-62135596800.0, "0001-01-01T00:00:00"),
        (253402300799.0, "9999-12-31T23:59:59"),
    ],
)
def test_times(value: object, moment: str) -> None:
    expected = datetime.fromisoformat(moment)
    since = expected - datetime(1970, 1, 1)
    exact = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    assert read_timestamp(value) == exact
    if isinstance(value, float) and abs(value) > 2**14:
        assert pl.select(microseconds(pl.lit(value))).item() == exact


@pytest.mark.parametrize(
    "value",
    [
        *(1e11 * 9, 1e14 + 100, 253402300800.0, -62135596800.5, 1e300, float("inf"), float("nan"), -1e12),
        *(True, None, [], {}, "", "soon", "2024-01-24", "2024-01-24T16:13:25", "2024-02-30T00:00:00Z", "1e9", " 5"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.9999999Z", "2024-01-24T25:00:00Z", "٣٤٥"),
    ],
)
def test_what_is_no_time(value: object) -> None:
    assert isinstance(read_timestamp(value), Unreadable)
    if isinstance(value, float):
        assert pl.select(microseconds(pl.lit(value))).item() is None


@pytest.mark.parametrize(
    ("value", "integer"),
    [(7, 7), ("7", 7), ("-007", -7), ("+5", 5), (7.0, 7), (-(2**63), -(2**63)), (str(2**63 - 1), 2**63 - 1)],
)
def test_integers(value: object, integer: int) -> None:
    assert read_integer(value) == integer


@pytest.mark.parametrize(
    "value", [True, None, 7.5, "7.0", " 7", "", "x", "٣", 2**63, str(2**63), 1e300, 2.0**54, [], {}]
)
def test_what_is_no_integer(value: object) -> None:
    assert isinstance(read_integer(value), Unreadable)


def test_counts_are_not_negative() -> None:
    assert read_count("0") == 0
    assert read_count("-1") == read_count(-1) == Unreadable("negative")
