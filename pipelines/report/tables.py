"""The tables of which the page holds the rows as they are, beside those of rpt_metrics: a new picture adds its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

TABLES: Mapping[str, str] = {}
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
