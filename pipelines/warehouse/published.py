"""Reading the published warehouse."""

import duckdb

from pipelines.errors import WarehouseMissingError
from pipelines.home.layout import Home
from pipelines.warehouse.literals import quoted


def connect_published(home: Home) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the warehouse as published now; it keeps this snapshot when a newer one follows.

    The file is attached to a fresh in-memory instance: `duckdb.connect(path)` would answer with an instance that this
    process opened before the file was replaced. Raises WarehouseMissingError when nothing has been published.
    """
    if not home.warehouse.exists():
        raise WarehouseMissingError(
            f"There is no warehouse at {home.warehouse} yet: run `embed-analytics refresh` first."
        )
    connection = duckdb.connect()
    try:
        connection.execute(f"attach {quoted(home.warehouse)} as warehouse (read_only)")
        connection.execute("use warehouse")
    except BaseException:
        connection.close()
        raise
    return connection
