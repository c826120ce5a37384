"""The rows of answers by column name, for tests to compare."""

from typing import Any

import duckdb

from pipelines.home.layout import Home
from pipelines.warehouse.published import connect_published


def rows_of(answer: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows by column name."""
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def published_rows(home: Home, sql: str) -> list[dict[str, Any]]:
    """What the home's published file answers."""
    with connect_published(home) as connection:
        return rows_of(connection.execute(sql))
