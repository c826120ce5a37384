"""drivers() at its edges, on planted worlds, and what it refuses."""

import importlib
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import duckdb
import pytest

from tests.warehouse.drivers_oracle import Cells, Event, Session, fisher, mantel_haenszel
from tests.warehouse.drivers_world import MISSING, NOON, PATHS, asked, copies, empty_world, row_of, session
from tests.warehouse.session_world import STEPS, SessionWorld

# scipy has no types.
STATS: Any = importlib.import_module("scipy.stats")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionWorld]:
    world = empty_world(tmp_path_factory.mktemp("drivers") / "home")
    yield world
    world.connection.close()


def test_without_sessions_nothing_is_tested(world: SessionWorld) -> None:
    for arguments in ("", "hold := []", "outcome := 'delivered', at_step := 'import_submitted', hold := ['plan']"):
        rows = asked(world, [], arguments, paths=[])
        assert [(row["kind"], row["session_count"], row["p"]) for row in rows] == [
            ("again", 0, None),
            ("again", 0, None),
            ("error", 0, None),
        ]
        assert all(row["not_tested_because"] for row in rows)


def test_what_is_planted_is_found_and_what_only_seems_so_is_not(world: SessionWorld) -> None:
    """Errors at mapping cost imports. A plan does not: it is only frequent with the template that converts badly."""
    random = Random(18)
    sessions: list[Session] = []
    for number in range(1200):
        template = random.choice("ab")
        plan = "free" if random.random() < (0.8 if template == "b" else 0.15) else "team"
        has_errors = random.random() < 0.3
        rate = (0.8 if template == "a" else 0.45) - (0.25 if has_errors else 0)
        sessions.append(
            session(
                str(number),
                submits=random.random() < rate,
                errors=MISSING if has_errors else {},
                known={"plan": plan},
                template=template,
            )
        )
    held = asked(world, sessions, paths=["plan"])
    crude = asked(world, sessions, "hold := []", paths=["plan"])
    error, plan = row_of(held, "sku", "MISSING"), row_of(held, "plan", "free")
    assert error == held[0]
    assert error["q"] < 1e-6
    assert error["odds_ratio_high"] < 0.6
    assert error["breslow_day_p"] > 0.05
    assert plan["q"] > 0.2
    assert plan["odds_ratio_low"] < 1 < plan["odds_ratio_high"]
    # Without what is held, the plan seems to matter.
    assert row_of(crude, "plan", "free")["q"] < 1e-6
    assert row_of(crude, "plan", "free")["odds_ratio_high"] < 0.8


def test_one_stratum_has_nothing_to_be_separated_from(world: SessionWorld) -> None:
    row = row_of(asked(world, copies((30, 20, 40, 5), errors=MISSING)), "sku", "MISSING")
    assert (row["strata_count"], row["strata_used_count"], row["inseparable_from"]) == (1, 1, None)
    assert row["p"] is not None
    assert (row["breslow_day"], row["breslow_day_p"]) == (None, None)


def test_a_fact_of_one_stratum_says_so_and_is_tested_only_if_the_stratum_can_compare(world: SessionWorld) -> None:
    both = [*copies((30, 20, 40, 5), errors=MISSING), *copies((0, 0, 30, 30), template="b")]
    row = row_of(asked(world, both), "sku", "MISSING")
    assert (row["inseparable_from"], row["strata_used_count"]) == ("template_key = a", 1)
    assert row["p"] is not None
    alone = [*copies((30, 20, 0, 0), errors=MISSING), *copies((0, 0, 30, 30), template=None)]
    row = row_of(asked(world, alone), "sku", "MISSING")
    assert row["inseparable_from"] == "template_key = a"
    assert row["not_tested_because"] == "no stratum has sessions with it and sessions without it"
    row = row_of(asked(world, alone, "hold := []"), "sku", "MISSING")
    assert (row["inseparable_from"], row["not_tested_because"]) == (None, None)


def test_null_is_a_stratum_like_any_other(world: SessionWorld) -> None:
    sessions = [*copies((0, 0, 30, 30)), *copies((30, 20, 40, 5), errors=MISSING, template=None)]
    row = row_of(asked(world, sessions, "hold := ['template_key', 'plan']"), "sku", "MISSING")
    assert (row["strata_count"], row["inseparable_from"]) == (2, "template_key = NULL, plan = NULL")


@pytest.mark.parametrize(
    ("cells", "ratio"), [((30, 0, 40, 5), None), ((0, 30, 5, 40), 0), ((30, 5, 40, 0), 0), ((5, 40, 0, 30), None)]
)
def test_zero_cells_have_a_p_and_no_interval(world: SessionWorld, cells: Cells, ratio: float | None) -> None:
    for hold, p in (
        ("[]", float(fisher(cells))),
        ("['template_key']", STATS.chi2.sf(float(mantel_haenszel([cells])), 1)),
    ):
        row = row_of(asked(world, copies(cells, errors=MISSING), f"hold := {hold}"), "sku", "MISSING")
        assert row["p"] == pytest.approx(p, rel=1e-9)
        assert (row["odds_ratio"], row["odds_ratio_low"], row["odds_ratio_high"]) == (ratio, None, None)


@pytest.mark.parametrize("cells", [(30, 0, 40, 0), (0, 30, 0, 40)])
def test_where_all_end_alike_nothing_is_tested(world: SessionWorld, cells: Cells) -> None:
    for hold in ("[]", "['template_key']"):
        rows = asked(world, copies(cells, errors=MISSING), f"hold := {hold}")
        assert {row["p"] for row in rows} == {None}
        why = row_of(rows, "sku", "MISSING")["not_tested_because"]
        assert why == "no stratum with both has sessions of either outcome"


@pytest.mark.slow
@pytest.mark.parametrize(
    "cells", [(900, 700, 5200, 3100), (40, 3, 9000, 90), (2500, 2500, 2500, 2500), (1, 1999, 400, 1600)]
)
def test_fishers_test_is_exact_where_tables_are_many(world: SessionWorld, cells: Cells) -> None:
    row = row_of(asked(world, copies(cells, errors=MISSING), "hold := []"), "sku", "MISSING")
    assert row["p"] == pytest.approx(float(fisher(cells)), rel=1e-7)


def test_at_the_landmarks_moment_the_order_of_events_decides(world: SessionWorld) -> None:
    def tied(name: str, first: int) -> Session:
        """Both its mapping, with event_id 5, and another upload happened at minute 1."""
        plain = session(name, known={"plan": "old"})
        landmark = next(event for event in plain.events if event.event_type == STEPS[3])
        upload = Event(landmark.at, first, f"{name}-x", STEPS[1], MISSING, {"plan": "new"}, "a", "Production", "user")
        mapping = Event(landmark.at, 5, f"{name}-y", STEPS[3], None, None, "a", "Production", "user")
        return Session([*plain.events[:2], upload, mapping])

    for first, is_known in ((4, True), (6, False)):
        rows = asked(world, [tied(str(number), first) for number in range(3)], "min_count := 1", paths=["plan"])
        assert row_of(rows, "file_uploaded", "true")["exposed_count"] == (3 if is_known else 0)
        assert ("sku" in {row["factor"] for row in rows}) == is_known
        assert row_of(rows, "plan", "new" if is_known else "old")["exposed_count"] == 3


def test_what_happens_after_the_landmark_is_not_known(world: SessionWorld) -> None:
    before = session("x", known={"plan": "free"}, uploads=1)
    last = before.in_order[-1].at
    later = [
        Event(last + timedelta(minutes=5 + place), 50 + place, f"later-{place}", step, MISSING, {"plan": "team"}, "b")
        for place, step in enumerate([STEPS[1], STEPS[3], STEPS[4]])
    ]
    rows = asked(world, [Session([*before.events, *later])], "min_count := 1", paths=["plan"])
    assert {(row["factor"], row["value"]): row["exposed_count"] for row in rows if row["exposed_count"]} == {
        ("plan", "free"): 1,
        ("environment_name", "Production"): 1,
        ("entry_trigger_type", "user"): 1,
        ("entry_hour", "12"): 1,
    }
    assert row_of(rows, "plan", "free")["exposed_converted_count"] == 1


def test_a_claim_with_more_than_twenty_values_is_one_row(world: SessionWorld) -> None:
    for count in (20, 21, 300):
        sessions = [session(str(number), known={"plan": str(number % count)}) for number in range(600)]
        rows = [row for row in asked(world, sessions, paths=["plan"]) if row["kind"] == "claim"]
        if count == 20:
            assert {row["value"] for row in rows} == {str(number) for number in range(20)}
            assert {row["exposed_count"] for row in rows} == {30}
        else:
            ((told, why),) = [(row["value"], row["not_tested_because"]) for row in rows]
            assert (told, why) == (None, "the claim has more than 20 values")


def test_a_rare_value_counts_wherever_it_is(world: SessionWorld) -> None:
    """The 21st value comes after the sessions that are looked at first."""
    sessions = [session(str(number), known={"plan": str(number % 20)}) for number in range(2000)]
    rows = asked(world, [*sessions, session("last", known={"plan": "rare"})], paths=["plan"])
    assert [row["value"] for row in rows if row["kind"] == "claim"] == [None]


def test_dates_choose_sessions_by_their_entry_and_the_immature_are_counted(world: SessionWorld) -> None:
    sessions = [session(str(days), days=days) for days in (0, 1, 8, 9, 11)]
    for arguments, counts in (
        ("", (3, 2)),
        ("include_immature := true", (5, 0)),
        ("from_date := date '2026-05-21', to_date := '2026-05-29'", (2, 1)),
        ("from_date := '2027-01-01'", (0, 0)),
    ):
        rows = asked(world, sessions, arguments)
        assert {(row["session_count"], row["immature_count"]) for row in rows} == {counts}


def test_sessions_without_a_landmark_are_counted(world: SessionWorld) -> None:
    skipped = Session([Event(NOON, 1, "s1", STEPS[0]), Event(NOON, 2, "s2", STEPS[4])])
    began_later = Session([Event(NOON, 1, "l1", STEPS[3]), Event(NOON + timedelta(minutes=1), 2, "l2", STEPS[0])])
    submitted_before = Session(
        [Event(NOON, 1, "b1", STEPS[0]), Event(NOON, 2, "b2", STEPS[4]), Event(NOON, 3, "b3", STEPS[3])]
    )
    never_came_so_far = Session([Event(NOON, 1, "n1", STEPS[1])])
    rows = asked(world, [skipped, began_later, submitted_before, never_came_so_far, session("x")])
    names = ("session_count", "skipped_count", "left_out_count")
    assert {tuple(row[name] for name in names) for row in rows} == {(1, 1, 2)}


MISTAKES = {
    "outcome := 'imported'": "outcome is submitted or delivered, not imported",
    "outcome := null": "outcome is .*, not NULL",
    "at_step := 'columns_maped'": r"at_step is not a step of the funnel: columns_maped\. Did you mean columns_mapped\?",
    "at_step := null": "at_step is a step of the funnel, not NULL",
    "at_step := 'import_submitted'": "at_step is the outcome: .* or for outcome := 'delivered'",
    "hold := null": r"hold is NULL: \[\] holds nothing",
    "hold := ['template_key', null]": "hold names a fact that is NULL",
    "hold := ['templat_key']": r"hold is neither .*: templat_key\. Did you mean template_key\?",
    "hold := ['last_error_count']": "last_error_count, which may not be known by the landmark. Hold one of template",
    "hold := ['customer_name']": "customer_name, which are claims of the session's end. Hold the path of the claim",
    "min_count := 0": "min_count is at least 1, not 0",
    "min_count := null": "min_count is at least 1, not NULL",
    "include_immature := null": "include_immature is true or false, not NULL",
    "from_date := 'last week'": r"from_date is not a date: last week\. Write date '2026-01-31'",
    "from_date := '2026-02-01', to_date := '2026-01-31'": "from_date, 2026-02-01, is after to_date, 2026-01-31",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_an_argument_that_cannot_be_meant_is_an_error_whatever_rows_there_are(
    world: SessionWorld, arguments: str
) -> None:
    names_unknown = arguments.startswith("hold := ['") and "null" not in arguments
    for sessions, paths in [([session("x")], PATHS)] if names_unknown else [([session("x")], PATHS), ([], [])]:
        with pytest.raises(duckdb.Error, match=MISTAKES[arguments]):
            asked(world, sessions, arguments, paths)
