"""How the answer of a query is printed: for people, or for programs.

Names and values are text from outside. A terminal is shown what it would obey as escapes.
"""

import csv
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, TextIO

import duckdb
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.home.printable import printable

FORMATS = {
    "table": "columns that fit the terminal; all of them where it is a pipe",
    "line": "a line per value",
    "csv": "with a header",
    "json": "an array of objects",
    "jsonl": "an object a line",
}
NUMBERS = ("BIGINT", "DOUBLE", "INTEGER", "HUGEINT", "DECIMAL")
CHUNK_ROWS = 10_000

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def print_answer(
    connection: duckdb.DuckDBPyConnection, sql: str, output: str, limit: int, *, for_spreadsheets: bool = False
) -> None:
    """Run one statement and print its answer in one of FORMATS. A table shows `limit` rows at most.

    `for_spreadsheets`: texts in csv that a spreadsheet would run as a formula begin with an apostrophe.
    """
    if output == "table" and sys.stdout.isatty():
        _print_box(connection.sql(sql), limit)
        return
    answer = connection.execute(sql)
    if output == "table":
        print_table(answer, limit=limit)
    elif output == "line":
        _print_lines(answer)
    elif output == "csv":
        _print_csv(answer, for_spreadsheets=for_spreadsheets)
    else:
        _print_json(answer, is_array=output == "json")


def _print_box(relation: duckdb.DuckDBPyRelation, limit: int) -> None:
    """As DuckDB's own shell does, by the same code. It says which part of the rows and columns is shown."""
    if relation.columns == ["explain_key", "explain_value"]:
        # A plan is a picture as wide as it is.
        for _, plan in relation.fetchall():
            _stdout().write(f"{plan}\n")
        return
    box = StringIO()
    with redirect_stdout(box):
        relation.show(max_width=shutil.get_terminal_size().columns, max_rows=limit)
    # After the box comes an empty line, which would be one more between the answers.
    _stdout().write(box.getvalue().removesuffix("\n"))


def print_table(answer: duckdb.DuckDBPyConnection, *, title: str | None = None, limit: int = 100) -> None:
    """Print the rows as a table on standard output, with every column. Says when there are more than `limit`."""
    console = Console()
    if not console.is_terminal:
        # A pipe has no width, so rows must not be folded at 80 columns.
        console = Console(width=10_000)
    table = Table(header_style="bold", box=None, pad_edge=False)
    # Everything is a rich Text. In a str, rich would take `[red]` and `:smile:` for its own markup.
    for name, dtype, *_ in answer.description or []:
        is_number = str(dtype).startswith(NUMBERS)
        table.add_column(Text(printable(name, keeps="\n")), justify="right" if is_number else "left", overflow="fold")
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
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else printable(str(value), keeps="\n")


def _print_lines(answer: duckdb.DuckDBPyConnection) -> None:
    names = [printable(name) for name in _names(answer)]
    width = max(map(len, names), default=0)
    is_first = True
    for row in _rows(answer):
        if not is_first:
            sys.stdout.write("\n")
        is_first = False
        for name, value in zip(names, row, strict=True):
            text = "NULL" if value is None else printable(str(value))
            sys.stdout.write(f"{name:>{width}} = {text}\n")


def _print_csv(answer: duckdb.DuckDBPyConnection, *, for_spreadsheets: bool) -> None:
    out = _stdout()
    writer = csv.writer(out, lineterminator="\n" if isinstance(out, _Shown) else "\r\n")
    names = _names(answer)
    if not for_spreadsheets:
        writer.writerow(names)
        writer.writerows(_rows(answer))
        return
    writer.writerow(map(_not_a_formula, names))
    writer.writerows([_not_a_formula(value) for value in row] for row in _rows(answer))


def _not_a_formula(value: object) -> object:
    """The value; with an apostrophe before a text that a spreadsheet would run. A number is never run."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _print_json(answer: duckdb.DuckDBPyConnection, *, is_array: bool) -> None:
    names = list(_distinct(_names(answer)))
    between = ",\n" if is_array else "\n"
    if is_array:
        sys.stdout.write("[")
    is_first = True
    for row in _rows(answer):
        if not is_first:
            sys.stdout.write(between)
        is_first = False
        sys.stdout.write(_json_line(names, row))
    if is_array:
        sys.stdout.write("]\n")
    elif not is_first:
        sys.stdout.write("\n")


def _json_line(names: Sequence[str], row: Sequence[Any]) -> str:
    values = {name: _json(value) for name, value in zip(names, row, strict=True)}
    line = orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    # The same values; orjson escapes only what JSON itself must not hold.
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _json(value: Any) -> Any:
    """The value. A HUGEINT that is too large for orjson becomes its text."""
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value


def _rows(answer: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := answer.fetchmany(CHUNK_ROWS):
        yield from rows


def _names(answer: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in answer.description or []]


def _distinct(names: list[str]) -> Iterator[str]:
    """The names, with a number appended to repeated ones, because a JSON object has one value per name."""
    taken: set[str] = set()
    for name in names:
        number, distinct = 1, name
        while distinct in taken:
            distinct = f"{name}_{number}"
            number += 1
        taken.add(distinct)
        yield distinct


class _Shown:
    """A terminal, which is shown what it would obey."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        return self._terminal.write(printable(text, keeps="\n\t"))


def _stdout() -> "TextIO | _Shown":
    return _Shown(sys.stdout) if sys.stdout.isatty() else sys.stdout
