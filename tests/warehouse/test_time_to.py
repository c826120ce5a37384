"""time_to() against its definition, against statsmodels, at its edges, and what it refuses."""

import importlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.incidence_oracle import KINDS, curve, medians
from tests.warehouse.lake import Lake, at, event
from tests.warehouse.session_world import STEPS, SessionWorld

# statsmodels has no types.
SURVFUNC: Any = importlib.import_module("statsmodels.duration.survfunc")

NOW = datetime(2026, 6, 1, 9)
LONG_AGO = datetime(2026, 5, 1)
IDLE = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionWorld]:
    root = tmp_path_factory.mktemp("time_to") / "home"
    world = SessionWorld(root, data_through=NOW, window=timedelta(days=7), idle_after=timedelta(minutes=IDLE))
    yield world
    world.connection.close()


# What a session did: event types with the minute after the entry, how it ended at which minute, and whether its
# embed_initialized was seen. Few minutes, so that ends of all kinds fall together.
MINUTES = st.sampled_from([0, 1, 2, 59, 60, 61, 62, 90])
SESSIONS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(STEPS), st.one_of(MINUTES, MINUTES, st.just(-5))), max_size=3),
        st.sampled_from(["closed", "silent", "open", "open"]),
        MINUTES,
        st.sampled_from([True, True, True, True, False]),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=30,
)
Did = tuple[list[tuple[str, int]], str, int, bool, str | None]


def tables(sessions: list[Did]) -> dict[str, list[dict[str, Any]]]:
    embeds: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for embed_id, (done, end, minute, is_entry_observed, template) in enumerate(sessions):
        submitted = any(step == STEPS[-1] for step, _ in done)
        entry_at = NOW - timedelta(minutes=minute) if end == "open" else LONG_AGO
        # Silent sessions end when they are no longer open.
        last = {"open": 0, "closed": minute, "silent": minute - IDLE}[end]
        embeds.append(
            {
                "embed_id": embed_id,
                "template_key": template,
                "is_entry_observed": is_entry_observed,
                "entry_at": entry_at,
                "entry_date": entry_at.date(),
                "last_event_at": entry_at + timedelta(minutes=last),
                "outcome": "submitted" if submitted else end,
            }
        )
        events += [
            {"embed_id": embed_id, "event_type": step, "occurred_at": entry_at + timedelta(minutes=after)}
            for step, after in done
        ]
    return {"fct_embeds": embeds, "stg_embed_events": events}


def ended(session: Did, step: str) -> tuple[int, str] | None:
    """The minute and kind of a session's end for this step; None where it is left out."""
    done, end, minute, is_entry_observed, _ = session
    reached = [after for name, after in done if STEPS.index(name) >= STEPS.index(step)]
    from_entry = [after for after in reached if after >= 0]
    if not is_entry_observed or (reached and not from_entry):
        return None
    return (min(from_entry), "converted") if from_entry else (minute, "censored" if end == "open" else end)


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@pytest.mark.slow
@pytest.mark.prove
@given(
    sessions=SESSIONS,
    step=st.sampled_from([*STEPS, STEPS[-1]]),
    by=st.sampled_from(["template_key", None]),
    variance=st.sampled_from(["aalen", "delta"]),
)
def test_each_row_is_its_definition(
    world: SessionWorld, sessions: list[Did], step: str, by: str | None, variance: str
) -> None:
    arguments = f"step := '{step}', by := {'null' if by is None else repr(by)}, variance := '{variance}'"
    with world.holding(**tables(sessions)) as connection:
        found = rows_of(connection.execute(f"from time_to({arguments})"))

    names = {session[4] if by else None for session in sessions}
    assert {row["breakdown"] for row in found} == names
    for name in names:
        mine = [ended(session, step) for session in sessions if not by or session[4] == name]
        timed = [session for session in mine if session is not None]
        rows = [row for row in found if row["breakdown"] == name]
        assert {row["entered_count"] for row in rows} == {len(timed)}
        assert {row["left_out_count"] for row in rows} == {len(mine) - len(timed)}
        if timed:
            _check_the_definition(rows, timed, minus=int(variance == "aalen"))
            _check_statsmodels(rows, timed, variance)
        else:
            assert [(row["t"], row["at_risk"], row["incidence"]) for row in rows] == [(None, None, None)]


def _check_the_definition(rows: list[dict[str, Any]], timed: list[tuple[int, str]], *, minus: int) -> None:
    expected = curve(timed, minus=minus)
    assert [row["t"] for row in rows] == [60 * row.t for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert row["at_risk"] == wanted.at_risk
        assert tuple(row[kind] for kind in KINDS) == wanted.counts
        assert row["incidence"] == pytest.approx(float(wanted.incidence), abs=1e-12)
        # 0 and 1 are exact: they decide whether there is an interval.
        assert (row["incidence"] in (0, 1)) == (wanted.incidence in (0, 1))
        assert row["standard_error"] ** 2 == pytest.approx(float(wanted.variance), abs=1e-12)
        ends = (row["incidence_low"], row["incidence_high"])
        assert ends == (wanted.ends if wanted.ends[0] is None else pytest.approx(wanted.ends, abs=1e-6))
    told = {(row["median"], row["median_low"], row["median_high"]) for row in rows}
    assert told == {tuple(None if t is None else 60 * t for t in medians(expected))}


def _check_statsmodels(rows: list[dict[str, Any]], timed: list[tuple[int, str]], variance: str) -> None:
    status = np.array([(KINDS.index(kind) + 1) % len(KINDS) for _, kind in timed])
    if not (status == 1).any():
        assert {row["incidence"] for row in rows} == {0}
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        oracle = SURVFUNC.CumIncidenceRight(np.array([60.0 * t for t, _ in timed]), status)
    assert [row["t"] for row in rows] == [*oracle.times]
    assert [row["incidence"] for row in rows] == pytest.approx([*oracle.cinc[0]], abs=1e-12)
    for row, error in zip(rows, oracle.cinc_se[0], strict=True):
        # It divides by 0 where all that are left end at once.
        if variance == "delta" and isfinite(error):
            assert row["standard_error"] ** 2 == pytest.approx(error**2, abs=1e-12)


def asked(world: SessionWorld, sessions: list[Did], arguments: str = "") -> list[dict[str, Any]]:
    with world.holding(**tables(sessions)) as connection:
        return rows_of(connection.execute(f"from time_to({arguments})"))


def converted(minute: int, template: str | None = None) -> Did:
    return [(STEPS[-1], minute)], "open", 90, True, template


def other(end: str, minute: int, template: str | None = None) -> Did:
    return [], end, minute, True, template


def test_all_that_are_left_may_end_at_once(world: SessionWorld) -> None:
    for sessions, incidence, has_interval in (
        ([converted(60)] * 3, 1, False),
        ([converted(60), converted(60), other("closed", 60), other("silent", 60)], 0.5, True),
        ([other("closed", 60)] * 2, 0, False),
    ):
        (row,) = asked(world, sessions)
        assert row["at_risk"] == len(sessions)
        assert row["incidence"] == incidence
        assert isfinite(row["standard_error"])
        assert (row["incidence_low"] is not None, row["incidence_high"] is not None) == (has_interval, has_interval)
        assert row["median"] == (3600 if incidence >= 0.5 else None)


def test_where_all_reach_it_the_share_is_exactly_one(world: SessionWorld) -> None:
    counts = range(2, 40)
    rows = asked(world, [converted(n, str(of)) for of in counts for n in range(of)], "by := 'template_key'")
    last = {row["breakdown"]: (row["incidence"], row["incidence_low"]) for row in rows if row["at_risk"] == 1}
    assert last == {str(of): (1, None) for of in counts}


def test_at_a_tie_the_censored_are_still_at_risk(world: SessionWorld) -> None:
    (row,) = asked(world, [converted(61), other("open", 61), other("closed", 61), other("silent", 61)])
    assert (row["at_risk"], row["incidence"]) == (4, 0.25)


def test_where_all_are_censored_nothing_is_reached_and_nothing_known(world: SessionWorld) -> None:
    rows = asked(world, [other("open", 1), other("open", 60), other("open", 60)])
    assert [(row["at_risk"], row["censored"], row["incidence"]) for row in rows] == [(3, 1, 0), (2, 2, 0)]
    assert {(row["incidence_low"], row["incidence_high"], row["median"]) for row in rows} == {(None, None, None)}


def test_no_sessions_no_rows(world: SessionWorld) -> None:
    assert asked(world, []) == []
    assert asked(world, [converted(1)], "from_date := '2099-01-01'") == []


def test_one_segment_answers_as_the_whole(world: SessionWorld) -> None:
    sessions = [converted(2, "a"), other("closed", 1, "a"), other("open", 60, "a")]
    whole = asked(world, sessions)
    for row, mine in zip(whole, asked(world, sessions, "by := 'template_key'"), strict=True):
        assert mine == row | {"breakdown": "a"}


def test_dates_choose_sessions_by_their_entry(world: SessionWorld) -> None:
    old, new = other("closed", 1), other("open", 1)
    assert [row["closed"] for row in asked(world, [old, new], f"to_date := date '{LONG_AGO.date()}'")] == [1]
    assert [row["censored"] for row in asked(world, [old, new], f"from_date := '{NOW.date()}'")] == [1]


def test_sessions_without_any_plausible_time_are_left_out_and_counted(world: SessionWorld) -> None:
    lost = {"embed_id": 1, "is_entry_observed": False, "outcome": "unknown"}
    with world.holding(fct_embeds=[lost]) as connection:
        (row,) = rows_of(connection.execute("from time_to()"))
    assert (row["t"], row["entered_count"], row["left_out_count"]) == (None, 0, 1)


def test_thousands_of_times_stay_exact(world: SessionWorld) -> None:
    """statsmodels again, where sums are long."""
    sessions = [
        converted(minute) if number % 3 else other(["closed", "silent", "open"][number // 3 % 3], 60 + minute)
        for number, minute in enumerate((number * 7919) % 30_000 for number in range(6_000))
    ]
    # Open sessions begin before NOW.
    timed = [end for session in sessions if (end := ended(session, STEPS[-1])) is not None]
    _check_statsmodels(asked(world, sessions, "variance := 'delta'"), timed, "delta")


def test_times_are_those_of_the_sessions_table(lake: Lake) -> None:
    """Through a real build: an open session, one that submitted, one that closed, one that fell silent, one that began
    unseen."""
    lake.write(
        [
            event("a", 1, "embed_initialized", at(0)),
            event("a2", 1, "file_uploaded", at(2)),
            event("a3", 1, "import_submitted", at(9)),
            event("b", 2, "embed_initialized", at(0)),
            event("b2", 2, "file_uploaded", at(1)),
            event("b3", 2, "embed_closed", at(4)),
            event("c", 3, "embed_initialized", at(0)),
            event("c2", 3, "file_uploaded", at(3)),
            event("d", 4, "embed_initialized", at(200)),
            event("e", 5, "file_uploaded", at(0)),
        ]
    )
    lake.sweep(at(210))
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_idle_after_hours=2)))
    with connect_published(lake.home) as connection:
        rows = rows_of(connection.execute("from time_to()"))
        uploads = connection.execute("select seconds_to_upload from fct_embeds order by 1 nulls last").fetchall()
        found = rows_of(connection.execute("from time_to(step := 'file_uploaded')"))
        ((submitted,),) = connection.execute("select max(seconds_to_submit) from fct_embeds").fetchall()
    assert [(row["t"], *(row[kind] for kind in KINDS)) for row in rows] == [
        (4 * 60, 0, 1, 0, 0),
        (submitted, 1, 0, 0, 0),
        (10 * 60, 0, 0, 0, 1),
        ((3 + 120) * 60, 0, 0, 1, 0),
    ]
    assert {row["left_out_count"] for row in rows} == {1}
    # The session that began unseen has a time to its upload in fct_embeds, counted from that upload: 0.
    assert [row["t"] for row in found if row["converted"]] == [seconds for (seconds,) in uploads if seconds]


MISTAKES = {
    "step := 'import_submited'": r"step is not a step of the funnel: import_submited\. Did you mean import_submitted\?",
    "step := null": "step is a step of the funnel, not NULL",
    "by := 'templat_key'": r"by is neither .*: templat_key\. Did you mean template_key\?",
    "variance := 'greenwood'": "variance is aalen or delta, not greenwood",
    "variance := null": "variance is aalen or delta, not NULL",
    "from_date := 'last week'": r"from_date is not a date: last week\. Write date '2026-01-31'",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_an_argument_that_cannot_be_meant_is_an_error_whatever_rows_there_are(
    world: SessionWorld, arguments: str
) -> None:
    for sessions in ([converted(1)], []) if "by" not in arguments else ([converted(1)],):
        with pytest.raises(duckdb.Error, match=MISTAKES[arguments]):
            asked(world, sessions, arguments)
