"""Data checks. Each file in sql/checks/ is a SELECT of the rows that should not be there.

Its leading comment says what must hold and ends in directives. `table:` is the table that it checks. `severity:` is
error (the warehouse is not published) or warn. `scope:` is a unit, or `whole`: a refresh checks only the unit's changed
values.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import sqlglot
from sqlglot import exp

from pipelines.warehouse.models import SQL, read_header
from pipelines.warehouse.sql_errors import ModelError, blamed_on
from pipelines.warehouse.tables import UNITS, shadowed

Severity = Literal["error", "warn"]

# Failing rows to show. They hold keys and counts, enough to find the rest.
SAMPLE_ROWS = 10


@dataclass(frozen=True)
class Check:
    """A statement about a table, and the SELECT of the rows that contradict it."""

    name: str
    table: str
    severity: Severity
    scope: str
    sql: str
    description: str


@dataclass(frozen=True)
class CheckResult:
    """What a check found. `sample` holds at most SAMPLE_ROWS offending rows."""

    name: str
    table: str
    severity: Severity
    passed: bool
    failing_count: int
    sample: list[dict[str, Any]]
    description: str


@cache
def load_checks(folder: Path = SQL / "checks") -> list[Check]:
    """Every check, ordered by name. Raises ModelError, which names the file, when a file is not a check."""
    return [_read_check(path) for path in sorted(folder.glob("*.sql"))]


def _read_check(path: Path) -> Check:
    file = f"sql/checks/{path.name}"
    with blamed_on(file):
        text = path.read_text(encoding="utf-8")
    header = read_header(text, file)
    severity, scope = header.directives.get("severity"), header.directives.get("scope", "whole")
    if severity not in ("error", "warn") or "table" not in header.directives or scope not in (*UNITS, "whole"):
        raise ModelError(f"{file} needs the lines `-- table:`, `-- severity:` and, if any, `-- scope:`.")
    return Check(path.stem, header.directives["table"], severity, scope, text, header.description)


def run_checks(
    connection: duckdb.DuckDBPyConnection, checks: Iterable[Check], *, is_narrowed: bool
) -> list[CheckResult]:
    """Run the checks over everything, or only over the changed units of each check's scope."""
    results: list[CheckResult] = []
    for check in checks:
        with blamed_on(f"sql/checks/{check.name}.sql"), _narrowed(connection, check, is_narrowed=is_narrowed):
            offending = connection.execute(
                f"select *, count(*) over () as failing_count from (\n{check.sql}\n) limit {SAMPLE_ROWS}"
            )
            columns = [column[0] for column in offending.description or []]
            rows = [dict(zip(columns, row, strict=True)) for row in offending.fetchall()]
        count = cast(int, rows[0]["failing_count"]) if rows else 0
        sample = [{name: value for name, value in row.items() if name != "failing_count"} for row in rows]
        results.append(
            CheckResult(check.name, check.table, check.severity, count == 0, count, sample, check.description)
        )
    return results


def _narrowed(
    connection: duckdb.DuckDBPyConnection, check: Check, *, is_narrowed: bool
) -> AbstractContextManager[None]:
    if not is_narrowed or check.scope == "whole":
        return nullcontext()
    return shadowed(connection, _tables_of(check), check.scope)


@cache
def _tables_of(check: Check) -> tuple[str, ...]:
    tree = sqlglot.parse_one(check.sql, dialect="duckdb")
    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    return tuple(sorted({t.name for t in tree.find_all(exp.Table) if t.db != "source" and t.name not in local}))
