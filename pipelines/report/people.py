"""The people on the page that `--with-people` writes: who is stuck, and what happened in their sessions and others."""

from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from pipelines.report.tables import read_table


@dataclass(frozen=True)
class Most:
    """How much the page holds at most, so that its size has a bound.

    `stuck`: stuck sessions, those who can still be helped first. `events`: events of the stuck sessions, and then of
    those with the latest events. `events_of_a_session`: a session with more is not there, since nobody reads it on a
    page and it would take the place of many others.
    """

    stuck: int = 500
    events: int = 20_000
    events_of_a_session: int = 1_000


MOST = Most()


def read_people(connection: duckdb.DuckDBPyConnection, most: Most = MOST) -> dict[str, Any]:
    """The stuck sessions (rows of rpt_stuck_embeds), the sessions whose timelines the page holds (of fct_embeds), and
    their events (of rpt_embed_timeline), each as columns and rows with the definition.

    The numbers of embeds are texts: JavaScript knows no whole numbers beyond 2^53.
    """
    ids = _sessions(connection, most)
    return {
        "most": asdict(most),
        "stuck": vars(
            read_table(
                connection,
                f"""
                select embed_id::varchar as embed_id, * exclude (embed_id) from rpt_stuck_embeds
                order by can_still_be_helped desc, priority limit {most.stuck}
                """,
                "rpt_stuck_embeds",
            )
        ),
        "sessions": vars(
            read_table(
                connection,
                f"""
                select
                    embed_id::varchar as embed_id, environment_name, template_key, customer_id, customer_name, plan,
                    user_id, outcome
                from fct_embeds where embed_id in ({ids})
                """,
                "fct_embeds",
            )
        ),
        "events": vars(
            read_table(
                connection,
                f"""
                select
                    embed_id::varchar as embed_id, event_number, occurred_at, seconds_since_previous, event_type,
                    trigger_type, operation, import_type, error_count
                from rpt_embed_timeline where embed_id in ({ids})
                order by rpt_embed_timeline.embed_id, event_number
                """,
                "rpt_embed_timeline",
            )
        ),
    }


def _sessions(connection: duckdb.DuckDBPyConnection, most: Most) -> str:
    """The numbers of the sessions to hold, as SQL: DuckDB makes their timelines alone only where it is told them so."""
    rows = connection.execute(f"""
        with stuck as (
            select embed_id, row_number() over (order by can_still_be_helped desc, priority) as stuck_place
            from rpt_stuck_embeds
            qualify stuck_place <= {most.stuck}
        ),

        candidates as (
            select
                embed_id, event_count,
                row_number() over (
                    order by stuck_place nulls last, last_event_at desc nulls last, embed_id
                ) as place
            from fct_embeds
            left join stuck using (embed_id)
            where event_count <= {most.events_of_a_session}
            order by place
            limit {most.events}
        )

        select embed_id from candidates
        qualify sum(event_count) over (order by place) <= {most.events}
        order by place
    """).fetchall()
    return ", ".join(str(embed_id) for (embed_id,) in rows) or "null"
