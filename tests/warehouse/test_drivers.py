"""drivers() against its definition, against scipy and statsmodels, and through a real build."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.drivers_checks import check
from tests.warehouse.drivers_oracle import UNREADABLE, Event, Session, counted
from tests.warehouse.drivers_world import HOSTILE, MATURE, NOON, PATHS, asked, empty_world
from tests.warehouse.history import History
from tests.warehouse.lake import Lake
from tests.warehouse.session_world import STEPS, SessionWorld


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionWorld]:
    world = empty_world(tmp_path_factory.mktemp("drivers") / "home")
    yield world
    world.connection.close()


def claims(plan: str | None, **others: Any) -> dict[str, Any]:
    """A payload with this plan, and a claim whose name has to be escaped everywhere."""
    return {"plan": plan, "o'r\"g": {"'); drop table fct_embeds; --": {"a.b": plan}}} | others


# What a session did: each event with its minute, so few of them that many share a moment, and with what it knows.
KNOWN = (
    st.sampled_from(
        [None, {}, {"sku": {"MISSING": 2}}, {"sku": {"MISSING": 0, "it's": 1}, "it's": {"it's": 1}}, UNREADABLE]
    ),
    st.sampled_from(
        [
            None,
            claims("free"),
            claims("free"),
            claims("';--", org={"id": 7}),
            claims(None, number=1.5),
            {"plan": ["free"], "org": {"id": True}},
        ]
    ),
)
EXTRA = st.tuples(
    st.sampled_from([0, 1, 1, 2, 3]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([*STEPS, "file_uploaded", "columns_mapped", "sheet_operation_performed"]),
    *KNOWN,
)


def performed(minute: int, event_type: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(minute), st.just(None), st.just(event_type), *KNOWN)


# As a rule the steps in their order, with others among them; now and then anything.
EVENTS = st.one_of(
    *[
        st.builds(
            lambda *parts: [*parts[:-1], *parts[-1]],
            *[performed(minute, step) for minute, step in enumerate(steps)],
            st.lists(EXTRA, max_size=2),
        )
        for steps in ([STEPS[0], STEPS[1], STEPS[3]], [STEPS[0], STEPS[1], STEPS[3]], [STEPS[0], STEPS[1]])
        for _ in range(3)
    ],
    st.lists(EXTRA, min_size=1, max_size=4),
)
# How many sessions did so, and how many in ten of them submitted.
GROUPS = st.lists(
    st.tuples(st.integers(1, 20), EVENTS, st.sampled_from([0, 3, 6, 9, 10])),
    min_size=3,
    max_size=9,
)


def sessions_of(groups: Sequence[tuple[int, list[Any], int]], random: Random) -> list[Session]:
    return [
        _session(f"{number}-{copy}", done, tenths > random.randrange(10), random)
        for number, (count, done, tenths) in enumerate(groups)
        for copy in range(count)
    ]


def _session(name: str, done: Sequence[Any], submits: bool, random: Random) -> Session:
    template, environment, trigger = (
        random.choice(values) for values in (["a", "b", None], ["Production", "Production", None], ["user", "api"])
    )
    # From the ninth day after NOON on they are immature.
    start = NOON + timedelta(days=random.choice([0, 0, 0, 1, 8, 9]))
    last = [(4, None, STEPS[-1], None, None)] if submits else []
    return Session(
        [
            Event(
                start + timedelta(minutes=minute),
                event_id,
                f"{name}-{place}",
                event_type,
                report,
                known,
                template,
                environment,
                trigger,
            )
            for place, (minute, event_id, event_type, report, known) in enumerate([*done, *last])
        ],
        random.choice([None, "imported", "failed"]),
    )


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@pytest.mark.slow
@pytest.mark.prove
@given(
    groups=GROUPS,
    seed=st.integers(0, 1000),
    outcome=st.sampled_from(["submitted", "submitted", "delivered"]),
    at_step=st.sampled_from(["columns_mapped", "columns_mapped", "file_uploaded", STEPS[0], STEPS[-1]]),
    hold=st.sampled_from(
        [[], ["template_key"], ["template_key", "plan"], [HOSTILE], ["entry_date", "entry_hour", "environment_name"]]
    ),
    min_count=st.sampled_from([1, 1, 3, 10]),
    include_immature=st.booleans(),
)
def test_each_row_is_its_definition(
    world: SessionWorld,
    groups: list[tuple[int, list[Any], int]],
    seed: int,
    outcome: str,
    at_step: str,
    hold: list[str],
    min_count: int,
    include_immature: bool,
) -> None:
    if at_step == STEPS[-1]:
        outcome = "delivered"
    sessions = sessions_of(groups, Random(seed))
    arguments = (
        f"outcome := '{outcome}', at_step := '{at_step}', hold := [{', '.join(map(quoted, hold))}], "
        f"min_count := {min_count}, include_immature := {include_immature}"
    )
    found = asked(world, sessions, arguments)
    mature = None if include_immature else MATURE
    expected = counted(sessions, PATHS, outcome=outcome, at_step=at_step, hold=hold, mature=mature)
    check(found, expected, at_step=at_step, hold=hold, min_count=min_count)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_it_agrees_with_its_definition_through_a_real_build(lake: Lake, seed: int) -> None:
    history = History(lake, Random(seed))
    for _ in range(40):
        history.batch()
    lake.sweep(history.now + timedelta(hours=1))
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_funnel_window_days=2)))
    with connect_published(lake.home) as connection:
        ((plausible_from, plausible_until),) = connection.execute(
            "select plausible_from, plausible_until from meta_build"
        ).fetchall()
        deliveries = dict(connection.execute("select embed_id, delivery from fct_embeds").fetchall())
        paths = [path for (path,) in connection.execute("select path from meta_claims").fetchall()]
        by_embed: dict[int, list[Event]] = {}
        for row in history.events.values():
            if plausible_from <= row["occurred_at"] <= plausible_until:
                by_embed.setdefault(row["embed_id"], []).append(event_of(row))
        sessions = [Session(events, deliveries[embed_id]) for embed_id, events in by_embed.items()]
        for outcome, at_step, hold in (
            ("submitted", "columns_mapped", ["template_key"]),
            ("submitted", "file_uploaded", []),
            ("delivered", "import_submitted", ["team"]),
        ):
            found = rows_of(
                connection.execute(
                    "from drivers(outcome := $1, at_step := $2, hold := $3, min_count := 1, include_immature := true)",
                    [outcome, at_step, hold],
                )
            )
            expected = counted(sessions, paths, outcome=outcome, at_step=at_step, hold=hold)
            assert expected.session_count > 5
            check(found, expected, at_step=at_step, hold=hold, min_count=1)


def event_of(row: Mapping[str, Any]) -> Event:
    """A row of the lake."""
    report = row["counts"] if row["has_error_counts"] else None
    return Event(
        row["occurred_at"],
        row["event_id"],
        row["event_uuid"],
        row["event_type"],
        UNREADABLE if row["has_unreadable_error_counts"] else report,
        None if row["claims"] is None else json.loads(row["claims"]),
        row["template_key"],
        row["environment_name"],
        row["trigger_type"],
    )
