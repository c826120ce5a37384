"""What the published warehouse says of one session. Nothing is counted here: each number is a row that is published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.errors import PermanentError
from pipelines.home.layout import Home
from pipelines.report.tables import Table, read_table
from pipelines.warehouse.published import connect_published, unreadable

COMPLETENESS = "meta_completeness"

_QUERIES: Mapping[str, str] = {
    "meta_build": "select build_id, built_at, data_through, code_version from meta_build",
    "fct_embeds": """
        select
            environment_name, template_key, user_id, customer_id, customer_name, plan, status, outcome, delivery,
            imported_row_count, entry_at, last_event_at, event_count, furthest_step, skipped_steps, upload_count,
            mapping_count, operation_count, resumed_count, closed_count, first_error_count, last_error_count,
            last_counted_at, operations_after_count
        from fct_embeds where embed_id = {embed_id}
    """,
    "rpt_embed_timeline": """
        select
            event_number, occurred_at, seconds_since_previous, event_type, trigger_type, user_id, customer_id,
            customer_name, plan, operation, import_type, error_count, environment_name, template_key, event_id,
            event_uuid
        from rpt_embed_timeline where embed_id = {embed_id} order by event_number
    """,
    "stg_validation_errors": """
        select event_number, column_key, error_code, errors.error_count
        from stg_validation_errors as errors
        inner join rpt_embed_timeline as timeline using (event_uuid)
        where errors.embed_id = {embed_id} and timeline.embed_id = {embed_id}
        order by event_number, column_key, error_code
    """,
    "fct_embed_validation_errors": """
        select column_key, error_code, first_error_count, last_error_count, is_resolved
        from fct_embed_validation_errors where embed_id = {embed_id} order by column_key, error_code
    """,
    "fct_embed_pauses": """
        select step, pause_count, longest_pause_seconds
        from fct_embed_pauses where embed_id = {embed_id} order by step
    """,
    "meta_quarantine": """
        select lake_partition, level, field, reason, event_uuid, fetched_at
        from meta_quarantine where embed_id = {embed_id} order by all
    """,
    # The days that hold an event of the session, or one that could not be read.
    "meta_coverage": """
        select
            lake_partition, event_count, quarantined_count, reconciled_at, held_at_source_count, held_purged_count,
            unheld_count
        from meta_coverage where lake_partition in (
            select lake_partition from stg_embed_events where embed_id = {embed_id}
            union select lake_partition from meta_quarantine where embed_id = {embed_id}
        )
        order by lake_partition
    """,
    COMPLETENESS: """
        select event_date, environment_name, verdict, reason
        from meta_completeness
        where (event_date, coalesce(environment_name, '')) in (
            select event_date, coalesce(environment_name, '') from stg_embed_events where embed_id = {embed_id}
        )
        order by event_date, environment_name
    """,
}


@dataclass(frozen=True)
class SessionFacts:
    """The published rows of a session by table or view, each with its definition; none where nothing is published, and
    then `missing` says why. A warehouse of a former version has no COMPLETENESS."""

    tables: Mapping[str, Table]
    missing: str | None = None

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table by the names of their columns."""
        found = self.tables.get(table)
        return [] if found is None else [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    def row(self, table: str) -> dict[str, Any]:
        """The only row of a table; empty where there is none."""
        (row,) = self.rows(table) or [{}]
        return row


def read_session_facts(home: Home, embed_id: int) -> SessionFacts:
    """All that is published of the session. A warehouse that is missing or cannot be read is told, and is no error."""
    try:
        with connect_published(home) as connection:
            (has_completeness,) = connection.execute(
                "select count(*) from duckdb_tables() where database_name = current_database() and table_name = ?",
                [COMPLETENESS],
            ).fetchone() or (0,)
            return SessionFacts(
                {
                    name: read_table(connection, sql.format(embed_id=embed_id), name)
                    for name, sql in _QUERIES.items()
                    if has_completeness or name != COMPLETENESS
                }
            )
    except duckdb.Error as error:
        return SessionFacts({}, str(unreadable(home, error)))
    except PermanentError as error:
        return SessionFacts({}, str(error))
