"""funnel_sessions() gives as many rows as funnel() counts, those that the definition names; and the edges of both."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any, cast

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.funnel_oracle import Asked, Event, Session, funnel_rows, units_of
from tests.warehouse.session_world import STEPS, SessionWorld

# A Monday. Sessions of three days before it are mature, and those of the day before it are not.
NOW = datetime(2026, 6, 1, 0, 30)
WINDOW = timedelta(hours=1)
STATES = ("reached", "performed", "skipped", "dropped", "open")
DAYS = {0: NOW.date(), 1: date(2026, 5, 31), 2: date(2026, 5, 30), 40: date(2026, 4, 22)}
OPERATION = "sheet_operation_performed"
TYPES = [*STEPS, "embed_closed", OPERATION]
Did = list[tuple[str, int]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionWorld]:
    root = tmp_path_factory.mktemp("funnel_sessions") / "home"
    world = SessionWorld(root, data_through=NOW, window=WINDOW, idle_after=timedelta(hours=1))
    yield world
    world.connection.close()


class Row:
    """One session: what it did in which minute of its day, and what the models say of it."""

    def __init__(
        self,
        did: Did,
        *,
        day: int | None = 40,
        user: str = "u",
        template: str | None = None,
        outcome: str | None = None,
        delivery: str | None = None,
    ) -> None:
        self.did = did
        self.user = user
        self.template = template
        self.entry_at = None if day is None else datetime.combine(DAYS[day], datetime.min.time())
        submitted = any(event_type == STEPS[-1] for event_type, _ in did)
        self.outcome = "unknown" if day is None else "submitted" if submitted else outcome or "closed"
        self.delivery = delivery

    def __repr__(self) -> str:
        return repr(self.__dict__)


SESSIONS = st.lists(
    st.builds(
        Row,
        # Few minutes, so that ties, ends of windows and excluded events in between are frequent.
        st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from([0, 0, 1, 2, 60, 61])), max_size=7),
        day=st.sampled_from([0, 1, 2, 2, 40, 40, None]),
        user=st.sampled_from(["u", "v"]),
        template=st.sampled_from(["a", None]),
        outcome=st.sampled_from(["open", "closed", "silent"]),
        delivery=st.sampled_from([None, "imported", "pending", "failed"]),
    ),
    max_size=12,
)


def tables(rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    embeds: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for embed_id, row in enumerate(rows):
        embeds.append(
            {
                "embed_id": embed_id,
                "user_id": row.user,
                "template_key": row.template,
                "entry_at": row.entry_at,
                "entry_date": row.entry_at and row.entry_at.date(),
                "outcome": row.outcome,
                "delivery": row.delivery,
            }
        )
        events += [
            {
                "embed_id": embed_id,
                "event_type": event_type,
                "operation": "sum" if event_type == OPERATION else None,
                "occurred_at": row.entry_at + timedelta(minutes=minute),
                "event_uuid": f"{embed_id}-{number}",
            }
            for number, (event_type, minute) in enumerate(row.did)
            if row.entry_at is not None
        ]
    return {"fct_embeds": embeds, "stg_embed_events": events}


ARGUMENTS = st.builds(
    Asked,
    steps=st.sampled_from([STEPS, STEPS, ["file_uploaded", OPERATION, "file_uploaded"], [STEPS[0], STEPS[4]]]),
    window=st.sampled_from([0.0, 60.0, 3600.0, 3600.0, 86_400.0]),
    mode=st.sampled_from(["ordered", "ordered", "strict", "any"]),
    optional=st.sampled_from([["header_selected", "columns_mapped"], [], [OPERATION]]),
    exclude=st.sampled_from([[], ["embed_closed"], ["embed_closed", f"{OPERATION}:sum"]]),
    by_period=st.sampled_from([None, "day", "week", "month"]),
    conversion=st.sampled_from(["submitted", "delivered"]),
    include_immature=st.booleans(),
    funnel_window=st.just(WINDOW.total_seconds()),
    now=st.just(NOW),
)


def literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(repr(step) for step in cast('list[str]', value))}]"
    return "null" if value is None else repr(value)


def arguments_of(asked: Asked, **more: object) -> str:
    given = asdict(asked) | more
    given["window_seconds"] = given.pop("window")
    return ", ".join(
        f"{name} := {literal(value)}" for name, value in given.items() if name not in ("funnel_window", "now")
    )


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@pytest.mark.slow
@pytest.mark.prove
@given(
    rows=SESSIONS,
    asked=ARGUMENTS,
    unit=st.sampled_from(["embed", "user"]),
    by=st.sampled_from([None, "template_key"]),
    place=st.integers(0, 99),
)
def test_the_sessions_are_as_many_as_the_number_and_those_that_it_means(
    world: SessionWorld, rows: list[Row], asked: Asked, unit: str, by: str | None, place: int
) -> None:
    given = tables(rows)
    named = {
        embed_id: (row.user if unit == "user" else str(embed_id), row.template if by else None)
        for embed_id, row in enumerate(rows)
    }
    sessions = [
        Session(embed_id, *named[embed_id], row.entry_at, row.outcome, row.delivery)
        for embed_id, row in enumerate(rows)
    ]
    events = [
        Event(*named[of["embed_id"]], of["occurred_at"], None, of["event_uuid"], of["event_type"], of["operation"])
        for of in given["stg_embed_events"]
    ]
    units = units_of(sessions, events, asked)
    with world.holding(**given) as connection:
        funnel = rows_of(connection.execute(f"from funnel({arguments_of(asked, unit=unit, by=by)})"))
        expected = funnel_rows(units, asked)
        assert [{name: row[name] for name in row if not name.endswith(("_low", "_high"))} for row in funnel] == expected
        number = 1 + place % len(asked.rows)
        for state in STATES:
            arguments = arguments_of(asked, unit=unit, by=by, step=number, state=state)
            found = rows_of(connection.execute(f"from funnel_sessions({arguments})"))
            counted = Counter((row["breakdown"], row["period"]) for row in found)
            for row in funnel:
                if row["step_number"] == number:
                    assert counted[row["breakdown"], row["period"]] == row[f"{state}_count"], (row, state)
            assert sorted(sorted(row["embed_ids"]) for row in found) == sorted(
                sorted(session.embed_id for session in of.sessions) for of in units if state in of.states(number, asked)
            )
            for row in found:
                _check_the_session(row, units, number)


def _check_the_session(row: dict[str, Any], units: Sequence[Any], number: int) -> None:
    (unit,) = [unit for unit in units if {session.embed_id for session in unit.sessions} == {*row["embed_ids"]}]
    assert row["embed_id"] == row["embed_ids"][0]
    assert row["is_mature"] == unit.is_mature
    assert row["seconds_from_entry"] == unit.seconds(number)
    assert row["reached_step_number"] == len(unit.times)
    assert row["started_at"] == (unit.times[0] if unit.times else None)
    entries = [session.entry_at for session in unit.sessions if session.entry_at is not None]
    assert row["entry_at"] == min(entries, default=None)


def funnel(world: SessionWorld, rows: Sequence[Row], arguments: str = "") -> list[dict[str, Any]]:
    with world.holding(**tables(rows)) as connection:
        return rows_of(connection.execute(f"from funnel({arguments})"))


def behind(world: SessionWorld, rows: Sequence[Row], arguments: str) -> list[int]:
    with world.holding(**tables(rows)) as connection:
        return [row["embed_id"] for row in rows_of(connection.execute(f"from funnel_sessions({arguments})"))]


def done(*minutes: int, excluded_at: int | None = None) -> Did:
    """An upload and a submission in these minutes."""
    did = [*zip(["file_uploaded", "import_submitted"], minutes, strict=True)]
    return did if excluded_at is None else [*did, ("embed_closed", excluded_at)]


TWO = "steps := ['file_uploaded', 'import_submitted']"


def test_what_is_excluded_is_out_between_start_and_end_alone(world: SessionWorld) -> None:
    """At the very microsecond of the start or the end nobody knows which came first."""
    rows = [Row(done(1, 4, excluded_at=minute)) for minute in (0, 1, 2, 3, 4, 5)]
    arguments = f"{TWO}, exclude := ['embed_closed']"
    for row in funnel(world, rows, arguments):
        assert (row["entered_count"], row["reached_count"], row["excluded_count"]) == (4, 4, 2)
    assert behind(world, rows, arguments) == [0, 1, 4, 5]


def test_a_chain_of_one_event_has_no_between(world: SessionWorld) -> None:
    rows = [Row([("file_uploaded", 1), ("embed_closed", 2)])]
    first, last = funnel(world, rows, f"{TWO}, exclude := ['embed_closed']")
    assert (first["reached_count"], last["reached_count"], last["dropped_count"], last["excluded_count"]) == (
        1,
        0,
        1,
        0,
    )


def test_a_chain_is_not_chosen_to_avoid_what_is_excluded(world: SessionWorld) -> None:
    """A shorter way around it does not save a unit whose best chain has it."""
    did = [("file_uploaded", 1), ("embed_closed", 2), ("file_uploaded", 3), ("import_submitted", 4)]
    assert [row["excluded_count"] for row in funnel(world, [Row(did)], f"{TWO}, exclude := ['embed_closed']")] == [1, 1]


def test_an_operation_may_be_excluded_where_the_step_is_any_operation(world: SessionWorld) -> None:
    did = [("file_uploaded", 1), (OPERATION, 2), ("import_submitted", 3)]
    steps = f"steps := ['file_uploaded', '{OPERATION}', 'import_submitted']"
    assert {row["excluded_count"] for row in funnel(world, [Row(did)], f"{steps}, exclude := ['{OPERATION}:sum']")} == {
        1
    }


def test_immature_sessions_are_out_and_counted_unless_asked_for(world: SessionWorld) -> None:
    rows = [Row(done(1, 2), day=day) for day in (0, 1, 2, 40)]
    for counted, arguments in ((2, TWO), (4, f"{TWO}, include_immature := true")):
        for row in funnel(world, rows, arguments):
            assert (row["reached_count"], row["entered_count"]) == (counted, counted)
            assert (row["mature_count"], row["mature_reached_count"], row["immature_count"]) == (2, 2, 2)
    assert behind(world, rows, f"{TWO}, include_immature := true, by := 'embed_id'") == [0, 1, 2, 3]


def test_a_longer_window_makes_sessions_mature_later(world: SessionWorld) -> None:
    rows = [Row(done(1, 2), day=day) for day in (2, 40)]
    assert [row["mature_count"] for row in funnel(world, rows, f"{TWO}, window_seconds := 86400 * 7")] == [1, 1]
    # A shorter one does not make them mature earlier: a chain may start late.
    assert [row["mature_count"] for row in funnel(world, [Row(done(1, 2), day=1)], f"{TWO}, window_seconds := 60")] == [
        0,
        0,
    ]


def test_without_a_complete_sweep_nothing_is_known_to_be_mature(world: SessionWorld) -> None:
    with world.holding(**tables([Row(done(1, 2)), Row([], outcome="open")])) as connection:
        connection.execute("update meta_build set data_through = null")
        for row in rows_of(connection.execute(f"from funnel({TWO})")):
            assert (row["reached_count"], row["immature_count"], row["open_count"], row["rate"]) == (0, 1, 1, None)


def test_a_user_is_as_old_as_the_first_session(world: SessionWorld) -> None:
    rows = [Row(done(1, 2), day=0), Row([("file_uploaded", 1)], day=40)]
    for row in funnel(world, rows, f"{TWO}, unit := 'user', by_period := 'month'"):
        assert (row["period"], row["reached_count"], row["immature_count"]) == (date(2026, 4, 1), 1, 0)


def test_what_the_list_has_not_said_is_open_and_neither_delivered_nor_dropped(world: SessionWorld) -> None:
    deliveries = ["imported", "pending", None, "failed"]
    rows = [
        *(Row(done(1, 2), delivery=delivery) for delivery in deliveries),
        # It did not submit, so the list owes nothing.
        Row([("file_uploaded", 1)]),
        # Delivered by the list, but no chain got to the end.
        Row([("file_uploaded", 1)], delivery="imported"),
    ]
    arguments = f"{TWO}, conversion := 'delivered'"
    *_, submitted, delivered = funnel(world, rows, arguments)
    assert (submitted["step"], submitted["reached_count"], submitted["open_count"]) == ("import_submitted", 4, 0)
    told = [delivered[f"{state}_count"] for state in ("previous_reached", *STATES)]
    assert (delivered["step"], told) == ("delivered", [4, 1, 1, 0, 1, 2])
    assert (delivered["rate"], delivered["mature_count"]) == (1 / 6, 6)
    assert delivered["median_seconds_from_entry"] is None
    for state, expected in (("reached", [0]), ("dropped", [3]), ("open", [1, 2])):
        assert behind(world, rows, f"state := '{state}', {arguments}") == expected
        assert behind(world, rows, f"step := 'delivered', state := '{state}', {arguments}") == expected


def test_periods_begin_on_their_first_day_and_add_up(world: SessionWorld) -> None:
    rows = [Row(done(1, 2), day=day) for day in (2, 40, 40)]
    for by_period, starts in (
        ("day", [date(2026, 4, 22), date(2026, 5, 30)]),
        ("week", [date(2026, 4, 20), date(2026, 5, 25)]),
        ("month", [date(2026, 4, 1), date(2026, 5, 1)]),
    ):
        found = [row for row in funnel(world, rows, f"by_period := '{by_period}', {TWO}") if row["step_number"] == 2]
        assert [(row["period"], row["reached_count"]) for row in found] == [*zip(starts, (2, 1), strict=True)]


def test_sessions_without_a_plausible_time_are_in_no_period(world: SessionWorld) -> None:
    assert funnel(world, [Row([], day=None)], "by_period := 'day'") == []
    assert funnel(world, [], "by_period := 'day'") == []
    assert behind(world, [], "by_period := 'day'") == []


def test_a_step_that_occurs_twice_is_asked_for_by_its_number(world: SessionWorld) -> None:
    steps = "steps := ['file_uploaded', 'columns_mapped', 'file_uploaded']"
    rows = [Row([("file_uploaded", 1), ("columns_mapped", 2), ("file_uploaded", 3)]), Row([("file_uploaded", 1)])]
    assert behind(world, rows, f"step := 1, {steps}") == [0, 1]
    assert behind(world, rows, f"step := '3', {steps}") == [0]
    with pytest.raises(duckdb.Error, match=r"has the step file_uploaded more than once. .* one of 1, 3"):
        behind(world, rows, f"step := 'file_uploaded', {steps}")


MISTAKES = {
    "step := 'import_submited'": r"the funnel has no step import_submited\. Did you mean import_submitted\?",
    "step := 6": "the funnel has no step 6",
    "step := 'delivered'": "the funnel has no step delivered",
    "step := 'file_uploaded', mode := 'any'": r"no step file_uploaded\. Did you mean any \d\?",
    "state := 'lost'": "state is reached, performed, skipped, dropped or open, not lost",
    "state := null": "state is .*, not NULL",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_an_argument_that_cannot_be_meant_is_an_error_whatever_rows_there_are(
    world: SessionWorld, arguments: str
) -> None:
    for rows in ([Row(done(1, 2))], []):
        with pytest.raises(duckdb.Error, match=MISTAKES[arguments]):
            behind(world, rows, arguments)
