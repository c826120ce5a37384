"""Warehouses of sessions that drivers() is asked of."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.warehouse.answers import rows_of
from tests.warehouse.drivers_oracle import UNREADABLE, Cells, Event, Session
from tests.warehouse.session_world import STEPS, SessionWorld

NOW = datetime(2026, 6, 1, 9)
# Sessions of that day are the last that have had their three days.
MATURE = date(2026, 5, 28)
NOON = datetime(2026, 5, 20, 12)

# Claim names may hold anything, and meta_claims writes them so that a path has one meaning.
HOSTILE = "o'r\"g.'); drop table fct_embeds; --.a\\.b"
PATHS = ["plan", "org.id", "number", HOSTILE]
MISSING = {"sku": {"MISSING": 3}}


def empty_world(root: Path) -> SessionWorld:
    """A warehouse without sessions, whose sessions have three days to convert."""
    return SessionWorld(root, data_through=NOW, window=timedelta(days=3), idle_after=timedelta(days=1))


def tables(sessions: Sequence[Session], paths: Sequence[str] = PATHS) -> dict[str, list[dict[str, Any]]]:
    embeds: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for embed_id, session in enumerate(sessions):
        entry = session.entry
        submitted = [event.at for event in session.events if event.event_type == STEPS[-1]]
        embeds.append(
            {
                "embed_id": embed_id,
                "template_key": entry.template_key,
                "environment_name": entry.environment_name,
                "entry_trigger_type": entry.trigger_type,
                "entry_at": entry.at,
                "entry_date": entry.at.date(),
                "furthest_step": STEPS[session.reached - 1],
                "import_submitted_at": min(submitted, default=None),
                "delivery": session.delivery,
            }
        )
        for event in session.events:
            events.append(
                {
                    "embed_id": embed_id,
                    "event_uuid": event.uuid,
                    "event_id": event.event_id,
                    "event_type": event.event_type,
                    "occurred_at": event.at,
                    "has_error_counts": isinstance(event.report, Mapping),
                    "has_unreadable_error_counts": event.report == UNREADABLE,
                    "claims": None if event.claims is None else json.dumps(event.claims),
                }
            )
            # What could be read of a report has rows, whatever could not.
            report = {"sku": {"MISSING": 1}} if isinstance(event.report, str) else event.report or {}
            errors += [
                {
                    "embed_id": embed_id,
                    "event_uuid": event.uuid,
                    "column_key": key,
                    "error_code": code,
                    "error_count": count,
                }
                for key, codes in report.items()
                for code, count in codes.items()
            ]
    names = [{"path": path, "json_types": "null,string"} for path in paths]
    return {"fct_embeds": embeds, "stg_embed_events": events, "stg_validation_errors": errors, "meta_claims": names}


def asked(
    world: SessionWorld, sessions: Sequence[Session], arguments: str = "", paths: Sequence[str] = PATHS
) -> list[dict[str, Any]]:
    with world.holding(**tables(sessions, paths)) as connection:
        return rows_of(connection.execute(f"from drivers({arguments})"))


def session(
    name: str,
    *,
    submits: bool = False,
    errors: Mapping[str, Mapping[str, int]] | None = None,
    known: Mapping[str, Any] | None = None,
    template: str | None = "a",
    uploads: int = 1,
    days: int = 0,
) -> Session:
    """A session that mapped at minute 1, where it knew of these errors and claims."""
    steps: list[tuple[int, str]] = [(0, STEPS[0]), *[(0, STEPS[1])] * uploads, (1, STEPS[3])]
    if submits:
        steps.append((2, STEPS[4]))
    start = NOON + timedelta(days=days)
    return Session(
        [
            Event(
                start + timedelta(minutes=minute),
                place,
                f"{name}-{place}",
                step,
                (errors or {}) if step == STEPS[3] else None,
                known,
                template,
                "Production",
                "user",
            )
            for place, (minute, step) in enumerate(steps)
        ]
    )


def copies(cells: Cells, **with_it: Any) -> list[Session]:
    """So many converted and other sessions with a fact, converted and other ones without it."""
    template = with_it.pop("template", "a")
    name = f"{template}{cells}{sorted(with_it)}"
    return [
        session(f"{name}-{arm}-{number}", submits=arm % 2 == 0, template=template, **(with_it if arm < 2 else {}))
        for arm, count in enumerate(cells)
        for number in range(count)
    ]


def row_of(rows: list[dict[str, Any]], factor: str, value: str | None) -> dict[str, Any]:
    (row,) = [row for row in rows if (row["factor"], row["value"]) == (factor, value)]
    return row
