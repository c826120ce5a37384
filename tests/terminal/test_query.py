"""`embed-analytics query`: what is in a cell is what is printed, and nothing but the warehouse is read or written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.home.layout import Home
from pipelines.terminal.query import QueryError, run_query
from pipelines.warehouse.build import BuildOptions, build


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("query"))
    build(home, BuildOptions())
    return home


def test_cells_and_names_are_not_taken_for_markup(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run_query(home, """select '[red]x' as "[bold]a", '[/]' as b, ':smile:' as c""", "table", 10)
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["[bold]a", "b", "c"]
    assert row.split() == ["[red]x", "[/]", ":smile:"]


def test_json_has_every_column_and_every_type(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select 1 as a, 2 as a, 3 as a, map {1: 2} as m, 170141183460469231731687303715884105727 as h, 'x'::blob as b"
    run_query(home, sql, "json", 10)
    assert json.loads(capsys.readouterr().out) == {
        **{"a": 1, "a_1": 2, "a_2": 3},
        "m": {"1": 2},
        "h": str(2**127 - 1),
        "b": "b'x'",
    }


@pytest.mark.parametrize("sql", ["", "  ", ";", "-- nothing"])
@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_no_sql(home: Home, sql: str, output: str) -> None:
    with pytest.raises(QueryError, match="no SQL"):
        run_query(home, sql, output, 10)


WRITES = [
    "create table x as select 1",
    "delete from stg_embed_events",
    "drop view rpt_embed_timeline",
    "use memory; detach warehouse; attach '{file}' as again; create table again.x as select 1",
    "attach '{file}' as again",
    "prepare again as attach '{file}' as again; execute again",
    "copy (select 1) to '{file}'",
    "copy (select 1) to '{beside}.csv'",
    "export database '{beside}'",
    "explain analyze copy (select 1) to '{beside}.csv'",
    "set enable_external_access = true; copy (select 1) to '{beside}.csv'",
    "from read_text('{file}')",
]


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_is_written_and_no_other_file_is_read(home: Home, sql: str) -> None:
    before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    with pytest.raises(QueryError):
        run_query(home, sql.format(file=home.warehouse, beside=home.root / "beside"), "table", 10)
    assert {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()} == before


def test_a_file_that_is_no_warehouse(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.warehouse.write_bytes(b"no database" * 1000)
    with pytest.raises(QueryError, match=r"warehouse\.duckdb"):
        run_query(home, "select 1", "table", 10)


def test_more_than_fits_in_memory_still_answers(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    many = "select distinct repeat('x', 90) || i from range(2000000) t(i)"
    run_query(home, f"set memory_limit = '100MB'; select count(*) as n from ({many})", "csv", 10)
    assert capsys.readouterr().out.split() == ["n", "2000000"]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("pipelines.terminal.cli", ["dagster", "duckdb", "httpx", "polars", "pyarrow", "pydantic", "rich"]),
        ("pipelines.terminal.query", ["dagster", "httpx", "polars", "pyarrow", "sqlglot"]),
    ],
)
def test_commands_start_without_what_they_do_not_use(module: str, unwanted: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
