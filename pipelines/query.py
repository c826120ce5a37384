"""`embed-analytics query`: SQL on the published warehouse, printed for people or for programs."""

import csv
import sys

import duckdb
import orjson
from rich.console import Console
from rich.table import Table

from pipelines.errors import ConfigurationError, PermanentError
from pipelines.home import Home
from pipelines.warehouse.query import connect_published

FORMATS = ("table", "csv", "json")
NUMBERS = ("BIGINT", "DOUBLE", "INTEGER", "HUGEINT", "DECIMAL")
CHUNK_ROWS = 10_000


class QueryError(PermanentError):
    """The SQL was refused; the text is DuckDB's."""


def run_query(home: Home, sql: str, output: str, limit: int) -> None:
    """Print the answer. Raises WarehouseMissingError, QueryError, or ConfigurationError for an unknown format."""
    if output not in FORMATS:
        raise ConfigurationError(f"--format {output}: choose one of {', '.join(FORMATS)}.")
    connection = connect_published(home)
    try:
        answer = connection.execute(sql)
        if output == "table":
            print_table(answer, limit=limit)
        elif output == "csv":
            _print_csv(answer)
        else:
            _print_json(answer)
    except duckdb.Error as error:
        raise QueryError(str(error).strip()) from None
    finally:
        connection.close()


def print_table(answer: duckdb.DuckDBPyConnection, *, title: str | None = None, limit: int = 100) -> None:
    """The rows as a table on standard output; says when there are more than `limit`."""
    console = Console()
    if not console.is_terminal:
        # A pipe has no width: rows must not be folded at 80 columns.
        console = Console(width=10_000)
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name, dtype, *_ in answer.description or []:
        is_number = str(dtype).startswith(NUMBERS)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    rows = answer.fetchmany(limit + 1)
    for row in rows[:limit]:
        table.add_row(*(_cell(value) for value in row))
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
    names = _names(answer)
    while rows := answer.fetchmany(CHUNK_ROWS):
        for row in rows:
            line = orjson.dumps(dict(zip(names, row, strict=True)), default=str, option=orjson.OPT_APPEND_NEWLINE)
            sys.stdout.write(line.decode())


def _names(answer: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in answer.description or []]
