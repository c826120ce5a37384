"""The table macros in sql/macros/, stored in the warehouse for analysts."""

import duckdb

from pipelines.warehouse.models import SQL


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Create or replace every macro in the warehouse."""
    for path in sorted((SQL / "macros").glob("*.sql")):
        connection.execute(path.read_text(encoding="utf-8"))
