"""Shows Polars frames to DuckDB, without pyarrow between them, whose import takes longer than a small refresh's SQL."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl


class _Stream:
    """A frame by the Arrow PyCapsule interface alone. DuckDB would ask a Polars frame for a table of pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._frame.__arrow_c_stream__(requested_schema)


@contextmanager
def shown(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> Generator[None]:
    """The frame as the relation `name`, while the context lasts."""
    connection.register(name, _Stream(frame))
    try:
        yield
    finally:
        connection.unregister(name)
