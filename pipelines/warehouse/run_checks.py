"""Running the checks on a build, and what they find, in rows and in words."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.home.printable import printable
from pipelines.warehouse.changes import Changes
from pipelines.warehouse.check import Check, Severity
from pipelines.warehouse.literals import identifier
from pipelines.warehouse.model import Model
from pipelines.warehouse.sql_errors import blamed_on
from pipelines.warehouse.tables import shadowed

# Failing rows to show. They hold keys and counts, enough to find the rest.
SAMPLE_ROWS = 10

# Values named in a finding, and how much of each.
_NAMED = 5
_CHARACTERS = 60


@dataclass(frozen=True)
class CheckResult:
    """What a check found: rows, and a `finding` in words. `sample` holds at most SAMPLE_ROWS of the rows.

    `is_whole`: it looked at every row. `acknowledged_count`: rows that a setting acknowledges, which do not count.
    """

    name: str
    table: str
    severity: Severity
    is_whole: bool
    passed: bool
    failing_count: int
    acknowledged_count: int
    finding: str
    sample: list[dict[str, Any]]
    description: str


def run_checks(
    connection: duckdb.DuckDBPyConnection,
    checks: Iterable[Check],
    models: Mapping[str, Model],
    changes: Changes | None,
    *,
    narrowed: Collection[str],
    acknowledged: Mapping[str, Collection[str]],
) -> Iterator[CheckResult]:
    """Run the checks one by one: those named in `narrowed` over the changed units of their scope, others over all.

    `acknowledged`: by check, patterns of its subject's values (`*` stands for any text).
    """
    for check in checks:
        is_narrowed = changes is not None and check.name in narrowed
        with blamed_on(check.file), _narrowed(connection, check, models, changes if is_narrowed else None):
            connection.execute(f"create or replace temp table failing as\n{check.sql}")
            acknowledged_count = _leave_out(connection, check, acknowledged.get(check.name, ()))
            sample, count = _sample(connection)
            finding = _finding(connection, check, count) if sample else ""
        yield CheckResult(
            name=check.name,
            table=check.table,
            severity=check.severity,
            is_whole=not is_narrowed,
            passed=not sample,
            failing_count=count,
            acknowledged_count=acknowledged_count,
            finding=finding,
            sample=sample,
            description=check.description,
        )


def _narrowed(
    connection: duckdb.DuckDBPyConnection, check: Check, models: Mapping[str, Model], changes: Changes | None
) -> AbstractContextManager[None]:
    if changes is None:
        return nullcontext()
    return shadowed(connection, check.depends_on, models, changes.predicate(check.scope))


def _leave_out(connection: duckdb.DuckDBPyConnection, check: Check, patterns: Collection[str]) -> int:
    """Take acknowledged rows out of the failing ones. A check without a subject is acknowledged as a whole, by `*`."""
    if not patterns:
        return 0
    subject = f"coalesce({identifier(check.subject)}::varchar, '')" if check.subject else "''"
    expression = "|".join(".*".join(re.escape(part) for part in pattern.split("*")) for pattern in patterns)
    row = connection.execute(
        f"delete from temp.main.failing where regexp_full_match({subject}, $1, 's')", [expression]
    ).fetchone()
    return row[0] if row else 0


def _sample(connection: duckdb.DuckDBPyConnection) -> tuple[list[dict[str, Any]], int]:
    (count,) = connection.execute("select count(*) from temp.main.failing").fetchall()[0]
    sample = connection.execute(f"from temp.main.failing limit {SAMPLE_ROWS}")
    columns = [column[0] for column in sample.description or []]
    return [dict(zip(columns, row, strict=True)) for row in sample.fetchall()], count


def _finding(connection: duckdb.DuckDBPyConnection, check: Check, count: int) -> str:
    if check.finds is None or check.subject is None:
        return "1 row" if count == 1 else f"{count} rows"
    values = connection.execute(
        f"select distinct {identifier(check.subject)} from temp.main.failing order by all"
    ).fetchall()
    named = ", ".join(_shown(value) for (value,) in values[:_NAMED])
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return check.finds.replace(f"{{{check.subject}}}", f"{named}{more}")


def _shown(value: object) -> str:
    """A value on one line. Where it is a text from outside it is cut, and no character of it commands a terminal."""
    text = "NULL" if value is None else printable(str(value))
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
