"""A published warehouse whose sessions a test makes up row by row: what a macro answers depends on little else.

The file is a real one, with the macros that are stored in it. Rows are put in and taken out again in transactions.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipelines.home.layout import Home
from pipelines.oneschema.vocabulary import FUNNEL_STEPS
from pipelines.warehouse.build import BuildOptions, build

STEPS = [step.step for step in FUNNEL_STEPS]


class SessionWorld:
    """Empty, until sessions are put into it."""

    def __init__(self, root: Path, *, data_through: datetime, window: timedelta, idle_after: timedelta) -> None:
        root.mkdir(mode=0o700, parents=True)
        home = Home(root)
        build(home, BuildOptions())
        self.connection = duckdb.connect(str(home.warehouse))
        self.connection.execute(
            "update meta_build set data_through = $1, funnel_window_seconds = $2, idle_after_seconds = $3",
            [data_through, window.total_seconds(), idle_after.total_seconds()],
        )

    @contextmanager
    def holding(self, **tables: Iterable[Mapping[str, Any]]) -> Generator[duckdb.DuckDBPyConnection]:
        """The warehouse with these rows, table by table; columns that a row does not name are NULL."""
        self.connection.execute("begin")
        try:
            for name, rows in tables.items():
                frame = pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
                if len(frame):
                    self.connection.register("frame", frame)
                    self.connection.execute(f"insert into {name} by name select * from frame")
                    self.connection.unregister("frame")
            yield self.connection
        finally:
            self.connection.execute("rollback")
