"""Funnel steps are written once, in the vocabulary. A column that is named after a step cannot follow from it: these
tests find the places that have to be touched by what they answer, and name them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

import pytest

from pipelines.oneschema.vocabulary import EVENT_TYPES, FUNNEL_STEPS, FunnelStep
from pipelines.settings import Settings
from pipelines.warehouse import macros, sources
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.warehouse.answers import rows_of
from tests.warehouse.lake import Lake, at, event

# Enough sessions for a threshold of their own in rpt_stuck_embeds.
SESSIONS = 25
ADDED = "sheet_operation_performed"


def minutes_of(steps: Sequence[FunnelStep]) -> list[int]:
    """Minute of each step: the way to each is longer than the one before, and longer than the shortest threshold."""
    return [0, *accumulate(20 + step.step_number for step in steps[1:])]


def build_sessions(lake: Lake, steps: Sequence[FunnelStep]) -> None:
    """SESSIONS sessions that do every step; and one for each step, numbered like it, that stops there."""
    minutes = minutes_of(steps)
    rows: list[dict[str, Any]] = []
    for embed_id in (*range(1, len(steps) + 1), *range(100, 100 + SESSIONS)):
        done = [*zip(steps, minutes, strict=True)][:embed_id]
        rows += [event(f"{embed_id}-{step.step}", embed_id, step.step, at(minute)) for step, minute in done]
        if len(done) == len(steps):
            rows.append(event(f"{embed_id}-closed", embed_id, "embed_closed", at(minutes[-1] + 5)))
    lake.write(rows)
    # Everyone who stopped has been idle for longer than an hour, and for less than a day.
    build_at(lake, at(minutes[-1] + 90))


def build_at(lake: Lake, swept_at: datetime) -> None:
    lake.sweep(swept_at)
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_idle_after_hours=24), "test"))


def places_to_touch(lake: Lake, steps: Sequence[FunnelStep]) -> list[str]:
    """The places that do not know one of the steps, by what they say of sessions that did it."""
    with connect_published(lake.home) as connection:
        (session,) = rows_of(connection.execute("from fct_embeds where embed_id = 100"))
        funnel = {row["step"]: row for row in rows_of(connection.execute("from fct_embed_funnel_daily"))}
        stuck = {row["embed_id"]: row for row in rows_of(connection.execute("from rpt_stuck_embeds"))}
    # Once the day is mature.
    build_at(lake, at(0) + timedelta(days=9))
    with connect_published(lake.home) as connection:
        together = "is_all_environments and is_all_templates and is_all_plans"
        medians = dict(connection.execute(f"select step, p50_seconds from rpt_step_times where {together}").fetchall())
    times = {name: value for name, value in session.items() if isinstance(value, datetime) and name != "entry_at"}
    durations = [value for name, value in session.items() if name.startswith("seconds_to_")]
    minutes = minutes_of(steps)
    places: list[str] = []
    for step, minute in zip(steps, minutes, strict=True):
        if at(minute) not in times.values():
            places.append(f"sql/fct_embeds.sql: a column <step>_at, with the time of the first {step.step}")
        if step.step_number > 1 and minute * 60 not in durations:
            places.append(f"sql/fct_embeds.sql: a column seconds_to_<step>, from the entry to {step.step}")
        if funnel[step.step]["median_seconds_from_entry"] != minute * 60:
            places.append(f"sql/fct_embed_funnel_daily.sql: seconds_from_entry of {step.step}")
        if step.step_number > 1 and medians[step.step] != minute * 60:
            places.append("sql/rpt_step_times.sql: step_times and step_seconds, in the order of the steps")
    for step, (arrived, left) in zip(steps[:-1], pairwise(minutes), strict=True):
        if stuck[step.step_number]["threshold_seconds"] != (left - arrived) * 60:
            places.append("sql/rpt_stuck_embeds.sql: the arrivals, in the order of the steps")
    return list(dict.fromkeys(places))


def assert_that_the_rest_follows(lake: Lake, steps: Sequence[FunnelStep]) -> None:
    """Everything that is not named after a step knows it already. (The build's own checks passed.)"""
    names = [step.step for step in steps]
    with connect_published(lake.home) as connection:
        stopped = rows_of(connection.execute(f"from fct_embeds where embed_id <= {len(steps)} order by embed_id"))
        daily = rows_of(connection.execute("from fct_embed_funnel_daily order by step_number"))
        asked = rows_of(connection.execute("from funnel(include_immature := true)"))
        stuck = rows_of(connection.execute("from rpt_stuck_embeds order by embed_id"))
    assert [row["furthest_step"] for row in stopped] == names
    assert [row["in_order_step_count"] for row in stopped] == [step.step_number for step in steps]
    reached = [SESSIONS + len(steps) - step.step_number + 1 for step in steps]
    for rows in (daily, asked):
        assert [(row["step_number"], row["step"], row["reached_count"]) for row in rows] == [
            *zip(range(1, len(steps) + 1), names, reached, strict=True)
        ]
    assert [row["in_order_count"] for row in daily] == reached
    assert [(row["embed_id"], row["step"]) for row in stuck] == [*enumerate(names[:-1], start=1)]


def test_steps_are_event_types_numbered_in_their_order() -> None:
    assert [step.step_number for step in FUNNEL_STEPS] == list(range(1, len(FUNNEL_STEPS) + 1))
    assert len({step.step for step in FUNNEL_STEPS} & EVENT_TYPES.keys()) == len(FUNNEL_STEPS)
    # Every session begins with the first and ends well with the last.
    assert not FUNNEL_STEPS[0].is_optional
    assert not FUNNEL_STEPS[-1].is_optional


@pytest.mark.slow
def test_every_place_that_is_named_after_a_step_knows_the_steps(lake: Lake) -> None:
    build_sessions(lake, FUNNEL_STEPS)
    assert_that_the_rest_follows(lake, FUNNEL_STEPS)
    assert places_to_touch(lake, FUNNEL_STEPS) == []


@pytest.mark.slow
def test_an_added_step_names_what_has_to_be_touched_and_the_rest_follows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [(step.step, step.is_optional) for step in FUNNEL_STEPS]
    names.insert(-1, (ADDED, True))
    steps = [FunnelStep(number, *about) for number, about in enumerate(names, start=1)]
    for module in (sources, macros):
        monkeypatch.setattr(module, "FUNNEL_STEPS", tuple(steps))

    build_sessions(lake, steps)

    assert_that_the_rest_follows(lake, steps)
    # first_operation_at is there already, so that fct_embeds has the time of this one.
    assert places_to_touch(lake, steps) == [
        f"sql/fct_embeds.sql: a column seconds_to_<step>, from the entry to {ADDED}",
        f"sql/fct_embed_funnel_daily.sql: seconds_from_entry of {ADDED}",
        "sql/rpt_step_times.sql: step_times and step_seconds, in the order of the steps",
        "sql/rpt_stuck_embeds.sql: the arrivals, in the order of the steps",
    ]
