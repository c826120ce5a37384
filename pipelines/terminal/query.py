"""`embed-analytics query`: SQL on the published warehouse, printed for people or for programs."""

import csv
import sys
from collections.abc import Iterator
from typing import Any

import duckdb
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.errors import ConfigurationError, PermanentError
from pipelines.home.layout import Home
from pipelines.warehouse.published import connect_published

FORMATS = ("table", "csv", "json")
NUMBERS = ("BIGINT", "DOUBLE", "INTEGER", "HUGEINT", "DECIMAL")
CHUNK_ROWS = 10_000

# With these the published file could be opened again to be written.
REFUSED = (duckdb.StatementType.ATTACH, duckdb.StatementType.DETACH)


class QueryError(PermanentError):
    """The SQL was refused; the text is DuckDB's."""


def run_query(home: Home, sql: str, output: str, limit: int) -> None:
    """Print the answer. Raises WarehouseMissingError, QueryError, or ConfigurationError for an unknown format.

    The SQL can read the published warehouse and nothing else: no file beside it, and nothing is written.
    """
    if output not in FORMATS:
        raise ConfigurationError(f"--format {output}: choose one of {', '.join(FORMATS)}.")
    try:
        with connect_published(home) as connection:
            connection.execute("set enable_external_access = false")
            answer = _execute(connection, sql)
            if output == "table":
                print_table(answer, limit=limit)
            elif output == "csv":
                _print_csv(answer)
            else:
                _print_json(answer)
    except duckdb.Error as error:
        raise QueryError(str(error).strip()) from None


def _execute(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("There is no SQL to run.")
    if any(statement.type in REFUSED for statement in statements):
        raise QueryError("A query reads the published warehouse alone: ATTACH and DETACH are refused.")
    return connection.execute(sql)


def print_table(answer: duckdb.DuckDBPyConnection, *, title: str | None = None, limit: int = 100) -> None:
    """The rows as a table on standard output; says when there are more than `limit`."""
    console = Console()
    if not console.is_terminal:
        # A pipe has no width: rows must not be folded at 80 columns.
        console = Console(width=10_000)
    table = Table(header_style="bold", box=None, pad_edge=False)
    # Text throughout: in a str, rich would take `[red]` and `:smile:` for its own markup.
    for name, dtype, *_ in answer.description or []:
        is_number = str(dtype).startswith(NUMBERS)
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    rows = answer.fetchmany(limit + 1)
    for row in rows[:limit]:
        table.add_row(*(Text(_cell(value)) for value in row))
    if title:
        console.print(Text(title, "italic"))
    console.print(table)
    if len(rows) > limit:
        console.print(f"({limit} rows shown; there are more: --limit, or --format csv)")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _print_csv(answer: duckdb.DuckDBPyConnection) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_names(answer))
    while rows := answer.fetchmany(CHUNK_ROWS):
        writer.writerows(rows)


def _print_json(answer: duckdb.DuckDBPyConnection) -> None:
    names = list(_distinct(_names(answer)))
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    while rows := answer.fetchmany(CHUNK_ROWS):
        for row in rows:
            line = orjson.dumps({n: _json(v) for n, v in zip(names, row, strict=True)}, default=str, option=options)
            sys.stdout.write(line.decode())


def _json(value: Any) -> Any:
    """The value, but a HUGEINT that orjson has no number for as its text."""
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value


def _names(answer: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in answer.description or []]


def _distinct(names: list[str]) -> Iterator[str]:
    """The names, those that stood before with a number behind: a JSON object keeps one value of each."""
    taken: set[str] = set()
    for name in names:
        number, distinct = 1, name
        while distinct in taken:
            distinct = f"{name}_{number}"
            number += 1
        taken.add(distinct)
        yield distinct
