"""`embed-analytics query`: what is in a cell is what is printed, and nothing but the warehouse is read or written."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from pipelines.home.layout import Home
from pipelines.terminal.answers import FORMATS
from pipelines.terminal.query import QueryError, run_query
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published, seal


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("query"))
    build(home, BuildOptions())
    return home


@pytest.mark.parametrize("sql", ["", "  ", ";", "-- nothing"])
@pytest.mark.parametrize("output", FORMATS)
def test_no_sql(home: Home, sql: str, output: str) -> None:
    with pytest.raises(QueryError, match="no SQL"):
        run_query(home, sql, output, 10)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 as n",
        "-- why\nselect 1 as n",
        "/* why */ from (values (1)) t(n);",
        "with a as (select 1 as n) from a",
        "(select 1 as n)",
        "table meta_build",
        "show tables",
        "describe fct_embeds",
        "summarize fct_embeds",
        "pivot (select 1 as a, 2 as b) on a using sum(b)",
        "with p as (pivot (select 1 as a, 2 as b) on a using sum(b)) from p",
        "explain select 1",
        "/* é */ explain -- é\n analyze select 1",
        "explain (format json) select 1",
        "explain pivot (select 1 as a) on a",
        "from funnel()",
        "from explain_change()",
        "from time_to()",
        "from drivers()",
        "pragma table_info('fct_embeds')",
        "pragma version",
    ],
)
def test_what_reads_runs(home: Home, sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_query(home, sql, "csv", 10)
    assert capsys.readouterr().out


def test_every_statement_has_its_answer(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    two = "select 1 as a; -- and\nselect 2 as b"
    run_query(home, two, "csv", 10)
    assert capsys.readouterr().out.splitlines() == ["a", "1", "", "b", "2"]
    run_query(home, two, "table", 10)
    assert capsys.readouterr().out.split() == ["a", "1", "b", "2"]
    run_query(home, two, "json", 10)
    assert capsys.readouterr().out.splitlines() == ['[{"a":1}]', '[{"b":2}]']
    run_query(home, two, "jsonl", 10)
    assert capsys.readouterr().out.splitlines() == ['{"a":1}', '{"b":2}']


def test_no_statement_runs_where_one_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(QueryError, match="CREATE TABLE"):
        run_query(home, "select 1; create table x as select 1", "csv", 10)
    assert capsys.readouterr().out == ""


def test_sql_that_is_not_text(home: Home) -> None:
    with pytest.raises(QueryError, match="UTF-8"):
        run_query(home, "select '\udcff'", "csv", 10)


# {file}: a file of the home, or one beside it. Every kind of statement of DuckDB's grammar that can name one, that can
# have another statement in it, or that changes anything.
WRITES = [
    "alter table fct_embeds add column x int",
    "analyze",
    "attach '{file}' as again",
    "attach '{file}' as again (type sqlite)",
    "begin",
    "call checkpoint()",
    "call enable_logging(storage = 'file')",
    "call enable_logging(storage_path = '{file}')",
    "call enable_profiling(save_location = '{file}')",
    "call read_csv('{file}')",
    "checkpoint",
    "comment on table fct_embeds is 'x'",
    "commit",
    "connect '{file}'",
    "copy (select 1) to '{file}'",
    "copy (select 1) to '{file}' (format csv, use_tmp_file false)",
    "copy (select 'x'::blob) to '{file}' (format blob, use_tmp_file false)",
    "copy (select 1) to '{file}' (format parquet)",
    "copy (select 1) to '{file}' (format json, partition_by (x))",
    "copy (pivot (select 1 as a) on a) to '{file}'",
    "copy fct_embeds from '{file}'",
    "copy fct_embeds to '{file}'",
    "copy from database warehouse to memory",
    "create index i on fct_embeds (embed_id)",
    "create macro m() as 1",
    "create schema s",
    "create persistent secret s (type http, bearer_token 'x')",
    "create secret s in local_file (type http, bearer_token 'x')",
    "create sequence s",
    "create table x as select 1",
    "create table x as from '{file}'",
    "create table x as pivot (select 1 as a) on a",
    "create temp table x as from read_blob('{file}')",
    "create type t as enum ('a')",
    "create view v as from '{file}'",
    "deallocate p",
    "delete from stg_embed_events",
    "detach warehouse",
    "drop view rpt_embed_timeline",
    "execute p",
    "export database '{file}'",
    "explain analyze call enable_logging(storage = 'file')",
    "explain analyze copy (select 1) to '{file}' (format csv, use_tmp_file false)",
    "explain analyze /* select 1 */ copy (select 1) to '{file}' (format csv, use_tmp_file false)",
    "explain (analyze, format json) copy (select 1) to '{file}'",
    "explain copy (select 1) to '{file}'",
    "explain create table x as select 1",
    "force checkpoint",
    "force install x from '{file}'",
    "import database '{file}'",
    "insert into fct_embeds from '{file}'",
    "insert into fct_embeds pivot (select 1 as a) on a",
    "install '{file}'",
    "load '{file}'",
    "merge into fct_embeds using fct_embeds as u on true when matched then delete",
    "pragma add_parquet_key('k', '0123456789112345')",
    "pragma copy_database('warehouse', 'memory')",
    "pragma enable_profiling = 'json'",
    "pragma import_database('{file}')",
    "pragma json_execute_serialized_sql('x')",
    "pragma profile_output = '{file}'",
    "pragma temp_directory = '{file}'",
    "prepare p as attach '{file}' as again",
    "prepare p as select 1",
    "reset all",
    "reset lock_configuration",
    "rollback",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "set log_query_path = '{file}'",
    "set profiling_output = '{file}'",
    "set temp_directory = '{file}'",
    "set global home_directory = '{file}'",
    "set variable x = 1",
    "truncate fct_embeds",
    "update extensions",
    "update fct_embeds set embed_id = 1",
    "use memory",
    "vacuum",
]

WITH = "with x as (select 1) "
ONE_WALL = "read-only|Parser Error"

SECRET = "what another file of the home says"


def places(home: Home) -> list[Path]:
    """Files of the home that a statement could read or write, those that are not there included."""
    return [home.warehouse, home.root / "warehouse.duckdb.wal", home.root / "secret.csv"]


@pytest.fixture
def guarded(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The home, with a file that nobody may read. Nothing of it, of the working directory, of the folder for temporary
    files and of the user's own folder differs afterwards."""
    user, work, temporary = (tmp_path / name for name in ("user", "work", "temporary"))
    for folder in (user, work, temporary):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(work)
    (home.root / "secret.csv").write_text(f"said\n{SECRET}\n", encoding="utf-8")
    before = _contents(home.root, tmp_path)
    yield home
    assert _contents(home.root, tmp_path) == before


def _contents(*folders: Path) -> dict[Path, bytes | None]:
    found = (path for folder in folders for path in folder.rglob("*"))
    return {path: path.read_bytes() if path.is_file() else None for path in found}


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_that_writes_runs(guarded: Home, sql: str) -> None:
    for place in places(guarded)[:2]:
        with pytest.raises(QueryError) as refused:
            run_query(guarded, sql.format(file=place), "table", 10)
        # By its kind, in one line, or because DuckDB's grammar does not have it.
        text = str(refused.value)
        assert ("read-only" in text and len(text.splitlines()) == 1) or text.startswith("Parser Error"), text


WORST = [sql for sql in WRITES if "copy" in sql or "call" in sql or "pivot" in sql or "attach" in sql]


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "select 1; ", "-- x\n", "/* é */ ", "explain ", "explain analyze ", "(", WITH])
@pytest.mark.parametrize("after", ["", "; select 1"])
def test_no_disguise_makes_a_write_read(guarded: Home, before: str, after: str) -> None:
    for sql in WORST:
        # What begins as a query may turn out to write only where DuckDB binds it.
        with pytest.raises(QueryError, match=r"read-only|Parser Error|Binder Error" if before == WITH else ONE_WALL):
            run_query(guarded, before + sql.format(file=guarded.warehouse) + after, "csv", 10)


def _calls(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Calls, with {file} for a path, of every function of DuckDB that takes a text."""
    rows = connection.execute("""
        select function_type, function_name, parameters, parameter_types from duckdb_functions()
        where function_name <> 'sleep_ms' and regexp_full_match(function_name, '[a-z_0-9]+')
    """).fetchall()
    calls: set[tuple[str, str]] = set()
    for kind, name, parameters, types in rows:
        texts = [p for p, dtype in zip(parameters, types, strict=False) if dtype in (None, "VARCHAR", "ANY", "VARIANT")]
        arguments = ["{file}", "[{file}]", "{file}, {file}", "{file}, {file}, {file}", "1, {file}", "{file}, 1"]
        if kind == "table":
            arguments += [f"{text} := {{file}}" for text in texts]
            arguments += [f"{{file}}, {text} := {{file}}" for text in texts]
        if texts or kind == "table":
            source = "from" if kind in ("table", "table_macro") else "select"
            calls.update((name, f"{source} {name}({given})") for given in arguments)
    return sorted(calls)


@pytest.mark.slow
@pytest.mark.parametrize("has_spill", [False, True])
def test_no_function_reads_or_writes_a_file(guarded: Home, tmp_path: Path, has_spill: bool) -> None:
    secret = guarded.root / "secret.csv"
    with connect_published(guarded) as connection:
        seal(connection, tmp_path if has_spill else None)
        calls = _calls(connection)
        assert {"read_csv", "read_text", "glob", "sniff_csv", "enable_logging"} <= {name for name, _ in calls}
        for name, call in calls:
            with suppress(duckdb.Error):
                rows = connection.execute(call.format(file=f"'{secret}'")).fetchall()
                assert SECRET not in repr(rows), call
                assert not name.startswith(("read_", "parquet_", "glob", "sniff_", "enable_")), call


@pytest.mark.parametrize(
    "sql",
    [
        "from '{file}'",
        "describe '{file}'",
        "from read_blob('{file}')",
        "from glob('{file}*')",
        "from query('from read_blob(''{file}'')')",
        "from json_execute_serialized_sql(json_serialize_sql('from read_blob(''{file}'')'))",
        "explain analyze from read_blob('{file}')",
        "with t as (from read_text('{file}')) pivot t on filename",
    ],
)
def test_no_file_is_read(guarded: Home, sql: str) -> None:
    for place in places(guarded):
        with pytest.raises(QueryError, match=r"LocalFileSystem has been disabled|Table with name .* does not exist"):
            run_query(guarded, sql.format(file=place), "csv", 10)


def test_a_file_that_is_no_warehouse(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.warehouse.write_bytes(b"no database" * 1000)
    with pytest.raises(QueryError, match=r"warehouse\.duckdb"):
        run_query(home, "select 1", "table", 10)


def test_more_than_fits_in_memory_still_answers(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    many = "select distinct repeat('x', 90) || i from range(2000000) t(i)"
    run_query(home, f"select count(*) as n from ({many})", "csv", 10, memory_limit="100MB")
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
