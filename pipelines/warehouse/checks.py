"""Data checks. Each file in sql/checks/ is a SELECT of the rows that should not be there.

Its leading comment says what must hold and ends in directives. `table:` is the table that it checks. `severity:` is
error (the warehouse is not published) or warn. `scope:` is a unit, or `whole`: a refresh checks only the unit's changed
values, where `passed_checks.py` says that it may.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import sqlglot
from sqlglot import exp

from pipelines.warehouse.models import SQL, read_header, read_parameters, read_relations, version_of
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
    depends_on: tuple[str, ...]
    sources: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def code_version(self) -> str:
        """A text that changes with what the check says, and with where it looks."""
        return f"{version_of(self.sql)} {self.scope}"


@dataclass(frozen=True)
class CheckResult:
    """What a check found. `sample` holds at most SAMPLE_ROWS offending rows. `is_whole`: it looked at every row."""

    name: str
    table: str
    severity: Severity
    is_whole: bool
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
    with blamed_on(file):
        trees = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise ModelError(f"{file} is not one SELECT.")
    models, sources = read_relations(trees[0])
    return Check(
        name=path.stem,
        table=header.directives["table"],
        severity=severity,
        scope=scope,
        sql=text,
        description=header.description,
        depends_on=models,
        sources=sources,
        parameters=read_parameters(trees[0]),
    )


def run_checks(
    connection: duckdb.DuckDBPyConnection, checks: Iterable[Check], *, narrowed: Collection[str]
) -> Iterator[CheckResult]:
    """Run the checks one by one: those named in `narrowed` over the changed units of their scope, others over all."""
    for check in checks:
        is_whole = check.name not in narrowed
        with blamed_on(f"sql/checks/{check.name}.sql"), _narrowed(connection, check, is_whole=is_whole):
            offending = connection.execute(
                f"select *, count(*) over () as failing_count from (\n{check.sql}\n) limit {SAMPLE_ROWS}"
            )
            columns = [column[0] for column in offending.description or []]
            rows = [dict(zip(columns, row, strict=True)) for row in offending.fetchall()]
        count = cast(int, rows[0]["failing_count"]) if rows else 0
        sample = [{name: value for name, value in row.items() if name != "failing_count"} for row in rows]
        yield CheckResult(
            check.name, check.table, check.severity, is_whole, count == 0, count, sample, check.description
        )


def _narrowed(connection: duckdb.DuckDBPyConnection, check: Check, *, is_whole: bool) -> AbstractContextManager[None]:
    return nullcontext() if is_whole else shadowed(connection, check.depends_on, check.scope)
