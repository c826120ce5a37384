"""chi_square_tail() against scipy."""

import importlib
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from pipelines.warehouse.functions import create_functions

# scipy has no types.
CHI2: Any = importlib.import_module("scipy.stats").chi2
ERFC: Any = importlib.import_module("scipy.special").erfc

DEGREES = [*range(1, 40), 99, 100, 999, 1000]
XS = [1e-12, 1e-6, 1e-3, *(n / 7 for n in range(1, 80)), 20, 39.4, 39.5, 78, 79, 100, 300, 700, 1300, 2500]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        create_functions(connection)
        yield connection


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_tail_is_scipys(connection: duckdb.DuckDBPyConnection, degrees: int) -> None:
    found = connection.execute("select chi_square_tail(x, $1) from (select unnest($2) as x)", [degrees, XS]).fetchall()
    for x, (tail,) in zip(XS, found, strict=True):
        assert tail == pytest.approx(CHI2.sf(x, degrees), rel=1e-11, abs=1e-300), x


def test_erfc_is_scipys(connection: duckdb.DuckDBPyConnection) -> None:
    zs = [n / 100 for n in range(2600)]
    found = connection.execute("select complementary_error(z) from (select unnest($1) as z)", [zs]).fetchall()
    assert [value for (value,) in found] == pytest.approx([*ERFC(zs)], rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("x", "degrees", "tail"), [("0", "1", 1), ("-1", "4", 1), ("null", "1", None), ("1", "null", None)]
)
def test_at_its_ends(connection: duckdb.DuckDBPyConnection, x: str, degrees: str, tail: float | None) -> None:
    assert connection.execute(f"select chi_square_tail({x}, {degrees})").fetchone() == (tail,)


def test_integers_are_not_divided_as_integers(connection: duckdb.DuckDBPyConnection) -> None:
    assert connection.execute("select chi_square_tail(3, 3) = chi_square_tail(3.0::double, 3)").fetchone() == (True,)
