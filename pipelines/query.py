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


class QueryError(PermanentError):
    """The SQL was refused; the text is DuckDB's."""


def run_query(home: Home, sql: str, output: str, limit: int) -> None:
    """Print the answer. Raises WarehouseMissingError, QueryError, or ConfigurationError for an unknown format."""
    if output not in FORMATS:
        raise ConfigurationError(f"--format {output}: choose one of {', '.join(FORMATS)}.")
    connection = connect_published(home)
    try:
        relation = connection.sql(sql)
        if relation is None:
            raise QueryError("The SQL answers no rows: write a SELECT.")
        if output == "table":
            print_table(relation.limit(limit + 1), limit=limit)
        elif output == "csv":
            _print_csv(relation)
        else:
            _print_json(relation)
    except duckdb.Error as error:
        raise QueryError(str(error).strip()) from None
    finally:
        connection.close()


def print_table(relation: duckdb.DuckDBPyRelation, *, title: str | None = None, limit: int = 100) -> None:
    """The rows as a table on standard output; says when there are more than `limit`."""
    console = Console()
    if not console.is_terminal:
        # A pipe has no width: rows must not be folded at 80 columns.
        console = Console(width=10_000)
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    numeric = [str(dtype).startswith(("BIGINT", "DOUBLE", "INTEGER", "HUGEINT", "DECIMAL")) for dtype in relation.types]
    for name, is_numeric in zip(relation.columns, numeric, strict=True):
        table.add_column(name, justify="right" if is_numeric else "left", overflow="fold")
    rows = relation.fetchall()
    for row in rows[:limit]:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)
    if len(rows) > limit:
        console.print(f"({limit} rows shown; there are more: --limit, or --format csv)")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _print_csv(relation: duckdb.DuckDBPyRelation) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(relation.columns)
    while rows := relation.fetchmany(10_000):
        writer.writerows(rows)


def _print_json(relation: duckdb.DuckDBPyRelation) -> None:
    names = relation.columns
    while rows := relation.fetchmany(10_000):
        for row in rows:
            line = orjson.dumps(dict(zip(names, row, strict=True)), default=str, option=orjson.OPT_APPEND_NEWLINE)
            sys.stdout.write(line.decode())
