"""The tables of which the page holds the rows as they are, beside those of rpt_metrics: a new picture adds its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

# A page of many filters holds as many lists of pairs, which are shorter then. Each says how many more there are.
PAIRS_HELD = 40
FEWEST_PAIRS_HELD = 10
DAYS_HELD = 60
ROWS_OF_PAIRS = 5_000
_CHOICES = "count(*) filter (pair_number = 1) over ()"
_HELD = f"least({PAIRS_HELD}, greatest({FEWEST_PAIRS_HELD}, {ROWS_OF_PAIRS} // ({_CHOICES})))"

_CHOICE = "is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan"


def _rate(name: str) -> str:
    """A rate and its interval, as exact as a page can show it."""
    return ", ".join(f"round({name}{end}, 6) as {name}{end}" for end in ("", "_low", "_high"))


def _seconds(name: str) -> str:
    return ", ".join(f"round(any_value({name}{end}), 3) as {name}{end}" for end in ("", "_low", "_high"))


TABLES: Mapping[str, str] = {
    "rpt_error_outcomes": f"""
        select {_CHOICE}, column_key, error_code, session_count, unsubmitted_count, {_rate("unsubmitted_rate")},
            other_session_count, other_unsubmitted_count, {_rate("other_unsubmitted_rate")}, unknown_count,
            {_rate("odds_ratio")}, pair_number, pair_count
        qualify pair_number <= {_HELD}
        order by pair_number
    """,
    # A step's curve in lists: as rows it would repeat all else for each time.
    "rpt_step_times": f"""
        select {_CHOICE}, step_number, step, entered_count, left_out_count, timed_count,
            {_seconds("p50_seconds")}, {_seconds("p75_seconds")}, {_seconds("p90_seconds")},
            {
        ", ".join(
            f"list({value} order by within_seconds) as {name}"
            for value, name in (
                ("within_seconds", "within_seconds"),
                ("reached_count", "reached_count"),
                *((f"round(reached_rate{end}, 6)", f"reached_rate{end}") for end in ("", "_low", "_high")),
            )
        )
    }
        group by {_CHOICE}, step_number, step, entered_count, left_out_count, timed_count
        order by step_number
    """,
    "rpt_repairs": f"""
        select {_CHOICE}, error_code, has_operation, operation, session_count, submitted_count,
            {_rate("submitted_rate")}, pair_number, pair_count
        qualify pair_number <= {_HELD}
        order by pair_number
    """,
    # The worst first, then the latest.
    "meta_completeness": f"""
        select event_date, environment_name, verdict, reason, source_count, held_count, agreed_count, gap_count,
            proven_at
        order by verdict = 'complete', verdict <> 'incomplete', event_date desc, environment_name
        limit {DAYS_HELD}
    """,
}
"""By table or view of the warehouse: which of its rows the page holds, as the end of a SELECT.

Those that the filters choose from have is_all_environments, environment_name, is_all_templates, template_key,
is_all_plans and plan, as rpt_metrics has them.
"""

_COMMENT = """
select comment from (
    select table_name as name, comment, database_name from duckdb_tables()
    union all
    select view_name, comment, database_name from duckdb_views()
)
where database_name = current_database() and name = ?
"""


@dataclass(frozen=True)
class Table:
    """Rows of a table, and what its comment says of it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    definition: str


def read_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, Table]:
    """The page's rows of each of TABLES, from a published warehouse."""
    return {name: read_table(connection, f"from {name} {chosen}", name) for name, chosen in TABLES.items()}


def compact(table: Table) -> Mapping[str, object]:
    """The table for the page: a text is in it once, in `texts` by its column, and the rows have its place there."""
    texts = {
        place: {
            text: number
            for number, text in enumerate(dict.fromkeys(row[place] for row in table.rows if row[place] is not None))
        }
        for place in range(len(table.columns))
        if any(isinstance(row[place], str) for row in table.rows)
    }
    rows = [
        [texts[place][cell] if place in texts and cell is not None else cell for place, cell in enumerate(row)]
        for row in table.rows
    ]
    return vars(table) | {"rows": rows, "texts": {table.columns[place]: [*found] for place, found in texts.items()}}


def read_table(connection: duckdb.DuckDBPyConnection, sql: str, *described: str) -> Table:
    """What `sql` answers, with the comments of the tables and views that describe it."""
    answer = connection.execute(sql)
    columns = [column[0] for column in answer.description or []]
    rows = answer.fetchall()
    return Table(columns, rows, "\n\n".join(definition_of(connection, name) for name in described))


def definition_of(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The comment of a table or view that the published warehouse has."""
    ((definition,),) = connection.execute(_COMMENT, [name]).fetchall()
    return definition
