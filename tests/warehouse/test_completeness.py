"""What meta_completeness says of a day, beside a slow reading of its definition, and in words."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import event as counted
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.warehouse.models import load_models
from pipelines.warehouse.source_columns import source_columns
from tests.proving import examples
from tests.warehouse.completeness_oracle import (
    DAY,
    HOUR,
    PLAUSIBLE_FROM,
    Found,
    Sweep,
    Verdict,
    World,
    verdicts,
)

FIRST = datetime(2026, 3, 2)
DAYS = 6
ENVIRONMENTS = ["Production", "'; drop table meta_sweeps; --", None]

# What each kind of gap is called in words.
KINDS = {
    "had no answer for longer": "sessions without an answer",
    "no sweep was complete": "no sweep",
    "a clock was wrong": "clock",
    "of raw are damaged": "damaged files",
    "are not held": "gone",
    "webhooks were refused": "refused webhooks",
    "of the webhook journal is damaged": "damaged journal",
}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as source")
        yield connection


def rows_of(connection: duckdb.DuckDBPyConnection, world: World) -> list[dict[str, Any]]:
    """The model's own SELECT over tables that hold just this world."""

    def table(name: str, rows: list[dict[str, Any]], types: dict[str, str]) -> None:
        columns = ", ".join(f"{column} {type_}" for column, type_ in types.items())
        connection.execute(f"create or replace table {name} ({columns})")
        if rows:
            marks = ", ".join("?" * len(types))
            values = [[row.get(column) for column in types] for row in rows]
            connection.executemany(f"insert into {name} values ({marks})", values)

    through = world.data_through
    times = dict.fromkeys(("data_through", "plausible_from", "plausible_until"), "timestamp")
    table(
        "source.parameters",
        [
            {
                "data_through": through,
                "plausible_from": PLAUSIBLE_FROM,
                "plausible_until": through + DAY if through else "infinity",
                "oneschema_retention": world.retention,
            }
        ],
        {**times, "oneschema_retention": "interval"},
    )
    table("source.build", [{"built_at": world.built_at}], {"built_at": "timestamp"})
    damaged = [{"lake_partition": str(day) if day else "unknown", "path": "p", "reason": "r"} for day in world.damaged]
    table("source.damaged_raw_files", damaged, dict.fromkeys(source_columns()["damaged_raw_files"], "varchar"))
    counts = dict.fromkeys(("event_count", "agreed_count"), "bigint")
    events = [
        {
            "event_date": day,
            "environment_name": name,
            "event_count": part,
            "agreed_count": agreed if part == held else 0,
        }
        for (day, name), (held, agreed) in world.held.items()
        # In more rows than one, as of more templates.
        for part in ([held] if agreed else [held - 1, 1])
    ]
    table("fct_events_daily", events, {"event_date": "date", "environment_name": "varchar", **counts})
    days = {day for day, _ in world.held} | world.quarantined.keys()
    lake_days = [
        {
            "lake_partition": str(day),
            "event_count": sum(held for (held_day, _), (held, _) in world.held.items() if held_day == day),
            "quarantined_count": world.quarantined.get(day, 0),
        }
        for day in days
    ]
    table(
        "stg_lake_days",
        lake_days,
        {"lake_partition": "varchar", "event_count": "bigint", "quarantined_count": "bigint"},
    )
    table("meta_sweeps", [recorded(sweep) for sweep in world.sweeps], SWEEP_TYPES)
    pushed = [dict(zip(PUSHED_TYPES, gap, strict=True)) for gap in world.pushed]
    table("meta_webhook_gaps", pushed, PUSHED_TYPES)
    (model,) = [model for model in load_models() if model.name == "meta_completeness"]
    answer = connection.execute(model.sql)
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


PUSHED_TYPES = {"began_at": "timestamp", "reason": "varchar", "refused_count": "bigint"}
SWEEP_TYPES = {
    **dict.fromkeys(("sweep_id", "kind"), "varchar"),
    **dict.fromkeys(("started_at", "finished_at"), "timestamp"),
    "is_complete": "boolean",
    "failed_count": "bigint",
    "environment_name": "varchar",
    "coverage_by_environment": "varchar",
    "unasked_embed_count": "bigint",
    "first_loss_at": "timestamp",
    "unseen_embed_count": "bigint",
    "unseen_from": "timestamp",
    "unseen_until": "timestamp",
    "clock_ahead_sweeps": "varchar",
}


def recorded(sweep: Sweep) -> dict[str, Any]:
    """The sweep as meta_sweeps has it."""
    found = sweep.found
    coverage = (
        None
        if found is None
        else [
            {
                "event_date": str(day) if day else "unknown",
                "environment_name": name,
                "source_count": each.source_count,
                "unheld_count": each.unheld_count,
            }
            for (day, name), each in found.items()
        ]
    )
    count, since, until = sweep.unseen or (None, None, None)
    return vars(sweep) | {
        "coverage_by_environment": None if coverage is None else json.dumps(coverage),
        "clock_ahead_sweeps": None if sweep.clock_ahead_sweeps is None else json.dumps(sweep.clock_ahead_sweeps),
        "unseen_embed_count": count,
        "unseen_from": since,
        "unseen_until": until,
    }


def compared(row: dict[str, Any]) -> Verdict:
    parts: list[str] = [] if row["gaps"] is None else row["gaps"].split("; ")
    kinds = {next(kind for words, kind in KINDS.items() if words in part) for part in parts}
    assert len(kinds) == row["gap_count"]
    assert row["reason"]
    values = {name: row[name] for name in Verdict._fields if name != "open_kinds"}
    return Verdict(**values, open_kinds=frozenset(kinds))


def a_day(random: Random) -> date:
    return (FIRST + random.randrange(DAYS) * DAY).date()


def a_time(random: Random) -> datetime:
    """Often at the very moment that something ends at."""
    return FIRST + timedelta(hours=random.choice([0, 0, 0, 5, 12]) + 24 * random.randrange(DAYS + 4))


def a_world(random: Random) -> World:
    """Mostly whole: each thing that may be wrong is so now and then."""
    retention = random.choice([None, *(timedelta(days=days) for days in (1, 3, 5, 9, 20))])
    world = World(a_time(random) + 3 * DAY, retention)
    for _ in range(random.randrange(8)):
        held = random.randrange(1, 5)
        world.held[a_day(random), random.choice(ENVIRONMENTS)] = (held, random.randrange(held + 1))
    for _ in range(random.randrange(9)):
        world.sweeps.append(a_sweep(random, world))
    if random.random() < 0.2:
        world.quarantined[a_day(random)] = 1
    if random.random() < 0.1:
        world.damaged = [random.choice([a_day(random), None])]
    for _ in range(random.choice([0, 0, 1, 2])):
        reason = random.choice(["too_large", "disk", "damaged"])
        began_at = a_time(random) + timedelta(minutes=random.choice([0, 30]))
        world.pushed.append((began_at, reason, None if reason == "damaged" else random.randrange(1, 9)))
    return world


def a_sweep(random: Random, world: World) -> Sweep:
    def rarely(share: float = 0.15) -> bool:
        return random.random() < share

    started_at = a_time(random)
    sweep = Sweep(
        f"s{len(world.sweeps)}",
        random.choice(["reconcile", "reconcile", "refresh"]),
        started_at,
        random.choice([None, started_at, started_at + timedelta(hours=random.choice([1, 12, 24]))]),
        is_complete=not rarely(),
        failed_count=2 * rarely(),
        environment_name=random.choice(ENVIRONMENTS),
    )
    if sweep.kind == "reconcile" and not rarely(0.1):
        sweep.found = {
            (day, name): Found(random.choice([0, held, held, held, held + rarely()]), int(rarely(0.1)))
            for (day, name), (held, _) in world.held.items()
            if not rarely(0.3)
        }
        if rarely():
            key = (random.choice([a_day(random), None]), random.choice(ENVIRONMENTS))
            sweep.found[key] = Found(1, int(rarely()))
    if rarely():
        sweep.unasked_embed_count, sweep.first_loss_at = random.randrange(3), a_time(random)
    if rarely():
        since = a_time(random)
        sweep.unseen = (random.randrange(3), since, since + random.randrange(3) * DAY)
    if rarely(0.05):
        sweep.clock_ahead_sweeps = [f"s{random.randrange(7)}"]
    if rarely(0.05):
        sweep.finished_at = started_at - DAY
    return sweep


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(150))
@given(random=st.randoms(use_true_random=False))
def test_each_day_is_as_the_definition_says(connection: duckdb.DuckDBPyConnection, random: Random) -> None:
    world = a_world(random)
    rows = rows_of(connection, world)
    found = {(row["event_date"], row["environment_name"]): compared(row) for row in rows}
    assert len(found) == len(rows)
    assert found == verdicts(world)
    for verdict in found.values():
        counted(f"{verdict.verdict}, gaps closed: {verdict.closed_gap_count > 0}")


PRODUCTION = "Production"
NEXT = FIRST + DAY
ONE_UNHELD = {(FIRST.date(), PRODUCTION): Found(1, 1)}


def reconcile(at: datetime, name: str = "r", **changes: Any) -> Sweep:
    """One that found the first day's event, and all well, but for these changes."""
    found = changes.pop("found", {(FIRST.date(), PRODUCTION): Found(1, 0)})
    fields: dict[str, Any] = {"is_complete": True, "failed_count": 0, **changes}
    return Sweep(name, "reconcile", at, fields.pop("finished_at", at + timedelta(hours=1)), found=found, **fields)


def a_held_day(*sweeps: Sweep, retention: int | None = 10, **changes: Any) -> World:
    held: dict[tuple[date, str | None], tuple[int, int]] = {(FIRST.date(), PRODUCTION): (1, 1)}
    days = None if retention is None else timedelta(days=retention)
    return World(FIRST + 4 * DAY, days, list(sweeps), held, **changes)


CASES: list[tuple[World, str, str]] = [
    (a_held_day(reconcile(NEXT)), "complete", "of 2026-03-03 00:00 UTC had an answer of every listed session"),
    # Of any reconcile in time, whatever failed later or was found before.
    (a_held_day(reconcile(NEXT), reconcile(NEXT + DAY, "s", failed_count=1)), "complete", "2026-03-03 00:00"),
    (a_held_day(reconcile(NEXT, found=ONE_UNHELD), reconcile(NEXT + DAY, "s")), "complete", "2026-03-04 00:00"),
    (a_held_day(reconcile(NEXT), retention=None), "as far", "No retention period is set (ONESCHEMA_RETENTION_DAYS)"),
    (a_held_day(), "as far", "No reconcile has asked since the day ended"),
    (a_held_day(retention=1), "as far", "before its first events could be deleted"),
    (a_held_day(reconcile(NEXT - timedelta(microseconds=1))), "as far", "The data ends before the day does"),
    (a_held_day(reconcile(NEXT, finished_at=FIRST + 11 * DAY)), "as far", "ended after the first events"),
    (a_held_day(reconcile(NEXT, failed_count=3)), "as far", "did not get everything (failures in meta_sweeps: 3)"),
    (a_held_day(reconcile(NEXT, is_complete=False)), "as far", "broke off"),
    (a_held_day(reconcile(NEXT, found=None)), "as far", "an older version, which did not count by environment"),
    (a_held_day(reconcile(NEXT, found={})), "as far", "is not known to have seen this environment"),
    (a_held_day(reconcile(NEXT, found={}, environment_name=PRODUCTION)), "complete", "every listed session"),
    (a_held_day(reconcile(NEXT, found=ONE_UNHELD)), "as far", "found events that earlier answers should have had (1)"),
    (a_held_day(reconcile(NEXT), reconcile(NEXT + DAY, "s", found=ONE_UNHELD)), "as far", "after the day was proven"),
    (
        a_held_day(reconcile(NEXT, found={(FIRST.date(), PRODUCTION): Found(3, 0)})),
        "incomplete",
        "events that a reconcile found are not held (2)",
    ),
    (a_held_day(reconcile(NEXT), damaged=[FIRST.date()]), "incomplete", "files of raw are damaged (1)"),
    (
        a_held_day(reconcile(FIRST, "a"), reconcile(NEXT), reconcile(NEXT + DAY, "s", clock_ahead_sweeps=["r"])),
        "incomplete",
        "a clock was wrong before the sweep of 2026-03-04 00:00",
    ),
    (a_held_day(reconcile(FIRST, clock_ahead_sweeps=["t"]), reconcile(NEXT + DAY, "s")), "complete", "2026-03-04"),
    (
        a_held_day(reconcile(FIRST, unseen=(2, FIRST, FIRST))),
        "incomplete",
        "sessions had no answer for longer than the retention period (2)",
    ),
    (
        a_held_day(pushed=[(FIRST, "disk", 2), (FIRST + HOUR, "disk", 3), (NEXT, "too_large", 1)]),
        "incomplete",
        "webhooks were refused (disk: 5, too_large: 1)",
    ),
    (a_held_day(reconcile(NEXT + HOUR), pushed=[(NEXT, "disk", 2)]), "complete", "every listed session"),
    (a_held_day(reconcile(NEXT), pushed=[(NEXT, "disk", 2)]), "incomplete", "webhooks were refused (disk: 2)"),
    (a_held_day(pushed=[(FIRST, "damaged", None)]), "incomplete", "a segment of the webhook journal is damaged"),
    (a_held_day(reconcile(NEXT), pushed=[(FIRST, "damaged", None)]), "complete", "every listed session"),
    (a_held_day(reconcile(NEXT), retention=None, pushed=[(FIRST, "disk", 2)]), "incomplete", "webhooks were refused"),
    (a_held_day(reconcile(NEXT, unseen=(2, FIRST, FIRST))), "complete", "every listed session"),
]


@pytest.mark.parametrize(("world", "verdict", "words"), CASES)
def test_what_a_day_may_claim(connection: duckdb.DuckDBPyConnection, world: World, verdict: str, words: str) -> None:
    (row,) = [row for row in rows_of(connection, world) if row["event_date"] == FIRST.date()]
    expected = "complete as far as the source can say" if verdict == "as far" else verdict
    assert (row["verdict"], words in row["reason"]) == (expected, True), row["reason"]
    assert compared(row) == verdicts(world)[FIRST.date(), PRODUCTION]


def test_many_environments_are_listed_on_their_own_days_alone(connection: duckdb.DuckDBPyConnection) -> None:
    names = [f"environment {number}" for number in range(150)]
    held: dict[tuple[date, str | None], tuple[int, int]] = {
        (FIRST.date(), name): (2 + (number < 100), 0) for number, name in enumerate(names)
    }
    days = Counter(row["environment_name"] for row in rows_of(connection, World(FIRST + 2 * DAY, None, held=held)))
    assert days == {name: 3 if number < 100 else 1 for number, name in enumerate(names)}
