"""What the checks of a build found, kept in the published file (`builder.checks`) for who reads it without Dagster."""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import polars as pl

from pipelines.warehouse.frames import shown
from pipelines.warehouse.run_checks import CheckResult

_SCHEMA = {
    "name": pl.String,
    "table_name": pl.String,
    "severity": pl.String,
    "passed": pl.Boolean,
    "failing_count": pl.Int64,
    "acknowledged_count": pl.Int64,
    "finding": pl.String,
}


@dataclass(frozen=True)
class Finding:
    """One check of the published build: its table, its severity (error or warn), the rows that it found, in words.

    Rows that a setting acknowledges are in `acknowledged_count` alone.
    """

    name: str
    table_name: str
    severity: str
    passed: bool
    failing_count: int
    acknowledged_count: int
    finding: str


def write(connection: duckdb.DuckDBPyConnection, results: Iterable[CheckResult]) -> None:
    """Record what every check of this build found. The schema `builder` must exist."""
    rows = [(r.name, r.table, r.severity, r.passed, r.failing_count, r.acknowledged_count, r.finding) for r in results]
    with shown(connection, "findings", pl.DataFrame(rows, _SCHEMA, orient="row")):
        connection.execute("create or replace table warehouse.builder.checks as select * from findings")


def read(connection: duckdb.DuckDBPyConnection) -> list[Finding] | None:
    """Every check of the file that is attached as `warehouse`, by name. None if an older version published it."""
    held = connection.execute(
        "from duckdb_tables() where database_name = 'warehouse' and schema_name = 'builder' and table_name = 'checks'"
    ).fetchone()
    if held is None:
        return None
    columns = ", ".join(_SCHEMA)
    return [
        Finding(*row)
        for row in connection.execute(f"select {columns} from warehouse.builder.checks order by name").fetchall()
    ]
