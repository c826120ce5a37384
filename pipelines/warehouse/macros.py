"""The table macros in sql/macros/, stored in the warehouse for analysts."""

from pathlib import Path

import duckdb

from pipelines.warehouse.models import SQL, ModelError
from pipelines.warehouse.tables import columns_of

# DuckDB binds column names before it knows a macro's arguments, so `by` chooses among columns that are written out.
_BREAKDOWN = "/* breakdown_columns */"


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Create or replace every macro in the warehouse."""
    for path in macro_files():
        connection.execute(_with_columns(path, columns_of(connection, "fct_embeds")))


def macro_files() -> list[Path]:
    """The files that define a macro each."""
    return sorted((SQL / "macros").glob("*.sql"))


def _with_columns(path: Path, columns: list[str]) -> str:
    text = path.read_text(encoding="utf-8")
    if text.count(_BREAKDOWN) != 1:
        raise ModelError(f"macros/{path.name} needs {_BREAKDOWN} once.")
    cases = "\n            ".join(f"when \"by\" = '{column}' then {column}::varchar" for column in columns)
    return text.replace(_BREAKDOWN, cases)
