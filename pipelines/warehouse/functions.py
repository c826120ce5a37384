"""The SQL functions in sql/functions/ that models share.

A `temp` macro is for the build alone. Any other is stored in the published file for analysts, so DuckDB 1.1.3 must know
its syntax. The functions are made before the models, and a model that calls one changes its version with them.
"""

import re
from functools import cache
from pathlib import Path

import duckdb

from pipelines.home.packaged import project_file
from pipelines.warehouse.sql_errors import blamed_on

FUNCTIONS = project_file("sql") / "functions"

_CREATE = re.compile(r"^create or replace (temp )?macro (\w+)\(", re.MULTILINE)


def create_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every function, in the warehouse or, if it is `temp`, in this connection."""
    for path in function_files():
        with blamed_on(f"sql/functions/{path.name}", lines_before=0):
            connection.execute(path.read_text(encoding="utf-8"))


def function_files() -> list[Path]:
    """The files of the functions."""
    return sorted(FUNCTIONS.glob("*.sql"))


def is_published(path: Path) -> bool:
    """The functions of a file are stored in the warehouse."""
    return not any(temporary for temporary, _ in _CREATE.findall(path.read_text(encoding="utf-8")))


@cache
def function_names() -> frozenset[str]:
    """The functions that models may call."""
    return frozenset(name for _, name in _CREATE.findall(functions_text()))


@cache
def functions_text() -> str:
    """The text of all functions. They may call each other, so they have one version."""
    return "\n".join(path.read_text(encoding="utf-8") for path in function_files())
