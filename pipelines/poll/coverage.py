"""What a reconcile counts: per raw folder and environment, how many events the source has, and which are not held."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.poll.poll_state import PollState
from pipelines.raw import held

_SCHEMA = """
-- For the reconcile under way: what the source had and what was held, per embed, raw folder and environment (as JSON,
-- since it may be null; empty where a former version counted without it).
create table if not exists coverage (
    embed_id integer, event_date text, environment text,
    held_at_source_count integer, unheld_count integer, new_at_source_count integer,
    primary key (embed_id, event_date, environment)
) without rowid;
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the table where it is missing. What a former version had counted stays, of an unknown environment."""
    held_names = {row[1] for row in connection.execute("pragma table_info(coverage)")}
    if not held_names or "environment" in held_names:
        connection.executescript(_SCHEMA)
        return
    connection.executescript(f"""
        begin;
        alter table coverage rename to former_coverage;
        {_SCHEMA}
        insert into coverage
        select embed_id, event_date, '', held_at_source_count, unheld_count, new_at_source_count from former_coverage;
        drop table former_coverage;
        commit;
    """)


class Coverage:
    """Counts, per raw folder, how many of the held events the source still has, before the reconcile lands anything.

    Counts are kept by embed, and the first count stands: if an embed is asked again after a crash, its new events may
    already have landed.
    """

    COUNTS = ("held_at_source_count", "unheld_count", "new_at_source_count")

    def __init__(self, state: PollState, sweep_id: str) -> None:
        self._state = state
        saved: dict[str, Any] = json.loads(state.fact("coverage") or "{}")
        if saved.get("sweep_id") != sweep_id:
            saved = {"sweep_id": sweep_id, "held": held.count_by_date(state.connection)}
            state.connection.execute("delete from coverage")
            state.set_fact("coverage", json.dumps(saved))
            state.commit()
        self._held: dict[str, int] = saved["held"]

    def add(self, deliveries: pl.DataFrame, polled_at: Mapping[int, int | None]) -> None:
        """Count the classified deliveries of answers (see held.classify), durably, before they land. `polled_at`: when
        each of the embeds had answered before."""
        asked = pl.DataFrame(
            {"embed_id": list(polled_at), "polled_at": list(polled_at.values())},
            schema={"embed_id": pl.Int64, "polled_at": pl.Int64},
        )
        # An event that had happened when the embed was last asked should have been in that answer.
        was_there = (pl.col("occurred_at") < pl.col("polled_at")).fill_null(value=False)
        counts = (
            deliveries.unique("uuid_hash", keep="first", maintain_order=True)
            .join(asked, on="embed_id", how="left")
            .group_by("embed_id", "event_date", "environment_name")
            .agg(
                pl.col("is_held").sum().alias(self.COUNTS[0]),
                (~pl.col("is_held") & was_there).sum().alias(self.COUNTS[1]),
                (~pl.col("is_held") & ~was_there).sum().alias(self.COUNTS[2]),
            )
        )
        self._state.connection.executemany(
            "insert or ignore into coverage values (?, ?, ?, ?, ?, ?)",
            (
                (embed_id, event_date, json.dumps(environment), *values)
                for embed_id, event_date, environment, *values in counts.iter_rows()
            ),
        )
        self._state.commit()

    def rows(self) -> list[dict[str, Any]]:
        sums = ", ".join(f"sum({name})" for name in self.COUNTS)
        query = f"select event_date, {sums} from coverage group by event_date"
        counts = {event_date: values for event_date, *values in self._state.connection.execute(query)}
        return [
            {
                "event_date": event_date,
                **dict(zip(self.COUNTS, values := counts.get(event_date, [0, 0, 0]), strict=True)),
                "held_purged_count": self._held.get(event_date, 0) - values[0],
            }
            for event_date in sorted({*counts, *self._held})
        ]

    def rows_by_environment(self) -> list[dict[str, Any]] | None:
        """None where some were counted by a former version, without their environment."""
        query = f"""
            select event_date, environment, sum({" + ".join(self.COUNTS)}), sum({self.COUNTS[1]})
            from coverage group by event_date, environment order by event_date, environment
        """
        counts = self._state.connection.execute(query).fetchall()
        if not all(environment for _, environment, *_ in counts):
            return None
        names = ("event_date", "environment_name", "source_count", "unheld_count")
        return [
            dict(zip(names, (event_date, json.loads(environment), *values), strict=True))
            for event_date, environment, *values in counts
        ]
