"""explain_change() against its definition, its sums, and what it refuses."""

import importlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from pipelines.warehouse import macros
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildCheckFailedError
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.change_oracle import Period, Session, explained
from tests.warehouse.history import History
from tests.warehouse.lake import START, Lake, event
from tests.warehouse.session_world import STEPS, SessionWorld

# statsmodels has no types.
PROPORTION: Any = importlib.import_module("statsmodels.stats.proportion")

NOW = datetime(2026, 6, 1, 9)
ADDS_UP = "explain_change_adds_up"
# Sessions of that day are the last that have had their three days.
MATURE = date(2026, 5, 28)
WINDOW = timedelta(days=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionWorld]:
    root = tmp_path_factory.mktemp("explain") / "home"
    world = SessionWorld(root, data_through=NOW, window=WINDOW, idle_after=timedelta(days=1))
    yield world
    world.connection.close()


def session(days_ago: int, furthest: int, *, template: str | None = "a", delivery: str | None = None) -> dict[str, Any]:
    """A session that began so many days before the last mature one, and got to step number `furthest`."""
    entry_date = MATURE - timedelta(days=days_ago)
    return {
        "template_key": template,
        "environment_name": "Production",
        "entry_at": datetime(entry_date.year, entry_date.month, entry_date.day, 12),
        "entry_date": entry_date,
        "furthest_step": STEPS[furthest - 1],
        "outcome": "submitted" if furthest == len(STEPS) else "silent",
        "delivery": delivery,
    }


GROUPS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.builds(
            session,
            # In the earlier period, in the later one, too young for it, and in none or in one by a day.
            st.sampled_from([4, 5, 6, 0, 1, 2, -1, -2, 3, 7, 8]),
            st.sampled_from([1, 2, 3, 4, 5, 5, 5]),
            template=st.sampled_from(["a", "b", "c", None]),
            delivery=st.sampled_from([None, "imported", "pending", "failed"]),
        ),
    ),
    max_size=16,
)
# First and last day of each period, in days before the last mature one.
PERIODS = st.tuples(st.sampled_from([7, 6]), st.sampled_from([4, 3]), st.sampled_from([2, 1]), st.sampled_from([0, -2]))


def told(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(row["split"], row["part"]): row for row in rows}


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@pytest.mark.slow
@pytest.mark.prove
@given(
    groups=GROUPS,
    days=PERIODS,
    by=st.sampled_from(["template_key", "template_key", "environment_name", "entry_date", None]),
    measure=st.sampled_from(["submitted", "delivered"]),
    include_immature=st.booleans(),
)
def test_each_row_is_its_definition_and_each_split_adds_up(
    world: SessionWorld,
    groups: list[tuple[int, dict[str, Any]]],
    days: tuple[int, int, int, int],
    by: str | None,
    measure: str,
    include_immature: bool,
) -> None:
    rows = [row for count, row in groups for _ in range(count)]
    before_from, before_to, after_from, after_to = (MATURE - timedelta(days=day) for day in days)

    with world.holding(fct_embeds=[row | {"embed_id": number} for number, row in enumerate(rows)]) as connection:
        found = rows_of(
            connection.execute(
                f"from explain_change(before_from := date '{before_from}', before_to := '{before_to}', "
                f"after_from := '{after_from}', after_to := '{after_to}', measure := '{measure}', "
                f"include_immature := {include_immature}, by := {'null' if by is None else repr(by)})"
            )
        )

    steps = [*STEPS, "delivered"] if measure == "delivered" else STEPS
    sessions = [
        Session(
            None if by is None or row[by] is None else str(row[by]),
            row["entry_date"],
            len(steps)
            if measure == "delivered" and row["delivery"] == "imported"
            else STEPS.index(row["furthest_step"]) + 1,
        )
        for row in rows
    ]
    mature = None if include_immature else MATURE
    before = Period.of(sessions, before_from, before_to, mature)
    after = Period.of(sessions, after_from, after_to, mature)
    expected = told(explained(before, after, steps))
    assert told(found).keys() == expected.keys()
    assert len(found) == len(expected)
    for key, row in told(found).items():
        for column, value in expected[key].items():
            assert row[column] == (pytest.approx(float(value), abs=1e-12) if isinstance(value, Decimal) else value), (
                key,
                column,
            )
        assert (row["before_from"], row["before_to"]) == (before_from, before_to)
        assert (row["after_from"], row["after_to"]) == (after_from, after_to)
        _check_the_intervals(row)
    _check_the_sums(found)


def _check_the_sums(rows: list[dict[str, Any]]) -> None:
    (total,) = [row for row in rows if row["split"] == "total"]
    difference = total["contribution"]
    for split in ("segments", "steps"):
        contributions = [row["contribution"] for row in rows if row["split"] == split]
        if difference is None:
            assert set(contributions) <= {None}
        else:
            assert sum(contributions) == pytest.approx(difference, abs=1e-9)


def _check_the_intervals(row: dict[str, Any]) -> None:
    for period in ("before", "after"):
        ends = (row[f"{period}_rate_low"], row[f"{period}_rate_high"])
        count = row[f"{period}_count"]
        if count:
            wilson: tuple[float, float] = PROPORTION.proportion_confint(
                row[f"{period}_converted_count"], count, method="wilson"
            )
            assert ends == pytest.approx(wilson, abs=1e-9)
        else:
            assert ends == (None, None)
    ends = (row["rate_difference_low"], row["rate_difference_high"])
    if not row["before_count"] or not row["after_count"]:
        assert ends == (None, None)
        return
    counts = [row[f"{period}_{name}"] for period in ("after", "before") for name in ("converted_count", "count")]
    newcombe: tuple[float, float] = PROPORTION.confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    assert ends == pytest.approx(newcombe, abs=1e-9)


def asked(world: SessionWorld, rows: list[dict[str, Any]], arguments: str = "") -> list[dict[str, Any]]:
    with world.holding(fct_embeds=[row | {"embed_id": number} for number, row in enumerate(rows)]) as connection:
        return rows_of(connection.execute(f"from explain_change({arguments})"))


def test_by_default_the_last_two_mature_periods_of_four_weeks_are_compared(world: SessionWorld) -> None:
    days = [-1, 0, 27, 28, 55, 56]
    total = asked(world, [session(day, 5) for day in days])[0]
    assert (total["before_from"], total["before_to"]) == (MATURE - timedelta(days=55), MATURE - timedelta(days=28))
    assert (total["after_from"], total["after_to"]) == (MATURE - timedelta(days=27), MATURE)
    assert (total["before_count"], total["after_count"]) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "days"),
    [
        ("period_days := 7", (13, 7, 6, 0)),
        ("after_to := '2026-05-20'", (63, 36, 35, 8)),
        ("after_from := '2026-05-20'", (17, 9, 8, 0)),
        ("before_from := '2026-01-01'", (147, 28, 27, 0)),
        ("before_to := timestamp '2026-04-30 12:00:00'", (55, 28, 27, 0)),
        ("before_to := date '2026-04-20', period_days := 2", (39, 38, 1, 0)),
    ],
)
def test_what_is_not_given_follows_from_what_is(world: SessionWorld, arguments: str, days: tuple[int, ...]) -> None:
    total = asked(world, [], arguments)[0]
    found = [total[name] for name in ("before_from", "before_to", "after_from", "after_to")]
    assert [(MATURE - day).days for day in found] == list(days)


def test_the_immature_are_left_out_and_counted_by_segment(world: SessionWorld) -> None:
    rows = [session(0, 5), session(-1, 1), session(-1, 1, template="young")]
    found = told(asked(world, rows, f"after_to := date '{NOW.date()}', after_from := date '{MATURE}'"))
    assert {key: row["after_immature_count"] for key, row in found.items()} == {
        ("total", None): 2,
        ("segments", "a"): 1,
        ("segments", "young"): 1,
        ("steps", "(not split)"): 2,
    }
    assert found["total", None]["after_count"] == 1
    assert found["segments", "young"]["after_rate"] is None


def test_a_segment_that_is_absent_from_a_period_is_all_mix(world: SessionWorld) -> None:
    rows = [session(1, 5, template="old"), session(1, 1), session(0, 5, template="new"), session(0, 5), session(0, 1)]
    found = told(asked(world, rows, "period_days := 1"))
    for part in ("old", "new"):
        row = found["segments", part]
        assert row["rate_contribution"] == 0
        assert row["contribution"] == row["mix_contribution"] != 0


@pytest.mark.parametrize("converted", [(0, 1), (1, 0), (0, 0)])
def test_a_step_that_nobody_reached_leaves_one_row_that_is_not_split(
    world: SessionWorld, converted: tuple[int, int]
) -> None:
    before, after = converted
    rows = [session(1, 3), session(0, 3), *[session(1, 5)] * before, *[session(0, 5)] * after]
    found = asked(world, rows, "period_days := 1")
    (row,) = [row for row in found if row["split"] == "steps"]
    assert row["part"] == "(not split)"
    assert row["contribution"] == found[0]["contribution"] == after / 2 - before / 2


def test_rates_that_hardly_differ_are_split_as_well(world: SessionWorld) -> None:
    """Here the difference is 1e-9 and steps move the rate by a percent each way: a quotient of differences is noise."""
    reached = {1: (30_001, 20_000, 20_000, 15_000, 10_000), 0: (29_998, 19_800, 19_800, 15_000, 9_999)}
    stopped = {day: [n - m for n, m in zip(counts, (*counts[1:], 0), strict=True)] for day, counts in reached.items()}
    rows = [
        session(day, number) for day, counts in stopped.items() for number, n in enumerate(counts, 1) for _ in range(n)
    ]
    found = asked(world, rows, "period_days := 1")
    before, after = (
        Period([Session("a", START.date(), number) for number, n in enumerate(stopped[day], 1) for _ in range(n)], [])
        for day in (1, 0)
    )
    _check_the_sums(found)
    expected = told(explained(before, after, STEPS))
    for key, row in told(found).items():
        if key[0] == "steps":
            assert row["contribution"] == pytest.approx(float(expected[key]["contribution"]), rel=1e-11, abs=1e-15)


def test_periods_without_sessions_have_no_rates(world: SessionWorld) -> None:
    for rows in ([], [session(1, 5)], [session(0, 5)]):
        found = asked(world, rows, "period_days := 1")
        assert {row["contribution"] for row in found} == {None}
        assert [row["part"] for row in found if row["split"] == "steps"] == ["(not split)"]
        assert {row["rate_difference"] for row in found} == {None}


def test_sessions_without_a_plausible_time_belong_to_no_period(world: SessionWorld) -> None:
    lost = session(0, 1) | {"entry_at": None, "entry_date": None}
    assert asked(world, [lost])[0]["after_count"] == 0


@pytest.mark.slow
def test_the_periods_are_those_of_the_customers_report(lake: Lake) -> None:
    lake.write(
        event(f"{days}-{n}", 1000 + days, event_type, START - timedelta(days=days))
        for days in range(70)
        for n, event_type in enumerate(["embed_initialized", "import_submitted"][: 1 + days % 2])
    )
    history = History(lake, Random(5))
    for _ in range(6):
        history.batch()
    lake.sweep(history.now + timedelta(days=5))
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_funnel_window_days=2)))
    report = "sum(entered_count_previous_28d), sum(submitted_count_previous_28d), sum(entered_count_28d), "
    report = f"select {report} sum(submitted_count_28d) from rpt_customers"
    columns = "before_count, before_converted_count, after_count, after_converted_count"
    total = f"select {columns} from explain_change() where split = 'total'"
    with connect_published(lake.home) as connection:
        reported = connection.execute(report).fetchone()
        assert reported is not None
        assert all(reported)
        assert connection.execute(total).fetchone() == reported


def changed(lake: Lake) -> None:
    """A lake whose two templates convert otherwise in the earlier four weeks than in the later."""
    lake.write(
        event(f"{days}-{n}", 1000 + days, event_type, START - timedelta(days=days), template_key=f"t{days % 2}")
        for days in range(70)
        for n, event_type in enumerate(["embed_initialized", "import_submitted"][: 1 + (days % 5 < 2 + days // 35)])
    )
    lake.sweep(START + timedelta(days=5))


@pytest.mark.slow
def test_every_build_checks_that_the_published_answer_adds_up(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(lake)
    for report in (build(lake.home, BuildOptions()), build(lake.home, BuildOptions())):
        (result,) = [result for result in report.checks if result.name == ADDS_UP]
        assert (result.passed, result.is_whole) == (True, True)
    with connect_published(lake.home) as connection:
        assert connection.execute("select contribution from explain_change() where split = 'total'").fetchone() != (0,)
    right = macros.read_macro

    def spoiled(path: Path) -> str:
        return right(path).replace("mix + rate, mix", "mix, mix")

    monkeypatch.setattr(macros, "read_macro", spoiled)
    with pytest.raises(BuildCheckFailedError, match=ADDS_UP) as failure:
        build(lake.home, BuildOptions())
    (failed,) = [check for check in failure.value.report.failed_checks if check.severity == "error"]
    assert [row["split"] for row in failed.sample] == ["segments"]


ANSWERS: dict[str, tuple[list[tuple[str, float | None]], list[str]]] = {
    "right": ([("total", 0.3), ("segments", 0.1), ("segments", 0.2), ("steps", 0.3)], []),
    "no difference": ([("total", None), ("segments", None), ("steps", None)], []),
    "no difference and no segments": ([("total", None), ("steps", None)], []),
    "rounded": ([("total", 0.3), ("segments", 0.3 + 9e-10), ("steps", 0.3 - 9e-10)], []),
    "not to 1e-9": ([("total", 0.3), ("segments", 0.3 + 2e-9), ("steps", 0.3 - 2e-9)], ["segments", "steps"]),
    "a part that is not known": ([("total", 0.3), ("segments", 0.3), ("segments", None), ("steps", 0.3)], ["segments"]),
    "no parts": ([("total", 0.3), ("segments", 0.3)], ["steps"]),
    "no parts of 0": ([("total", 0.0), ("segments", 0.0)], ["steps"]),
    "parts of no difference": ([("total", None), ("segments", 0.0), ("steps", None)], ["segments"]),
    "no total": ([("segments", 0.1), ("steps", 0.1)], ["segments", "steps"]),
    "not a number": ([("total", 0.3), ("segments", float("nan")), ("steps", 0.3)], ["segments"]),
}


@pytest.mark.parametrize(("rows", "wrong"), ANSWERS.values(), ids=ANSWERS)
def test_the_check_finds_the_split_that_does_not_add_up(rows: list[tuple[str, float | None]], wrong: list[str]) -> None:
    (check,) = [check for check in load_checks() if check.name == ADDS_UP]
    with duckdb.connect() as connection:
        connection.execute("create table answer (split varchar, contribution double)")
        connection.executemany("insert into answer values ($1, $2)", rows)
        connection.execute("create macro explain_change() as table from answer")
        assert sorted(split for split, *_ in connection.execute(check.sql).fetchall()) == wrong


MISTAKES = {
    "by := 'templat_key'": r"by is neither .*: templat_key\. Did you mean template_key\?",
    "measure := 'imported'": "measure is submitted or delivered, not imported",
    "measure := null": "measure is .*, not NULL",
    "period_days := 0": "period_days is at least 1, not 0",
    "period_days := null": "period_days is at least 1, not NULL",
    "include_immature := null": "include_immature is true or false, not NULL",
    "before_from := 'last week'": r"before_from is not a date: last week\. Write date '2026-01-31'",
    "after_to := 5": "after_to is not a date: 5",
    "before_from := '2026-05-02', before_to := '2026-05-01'": "before_from, 2026-05-02, is after before_to, 2026-05-01",
    "after_from := '2026-05-29'": r"after_from, 2026-05-29, is after after_to, 2026-05-28 .*last mature day",
    "before_to := '2026-05-10', after_from := '2026-05-10'": r"the periods share days: .* Move before_to or after_from",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_an_argument_that_cannot_be_meant_is_an_error_whatever_rows_there_are(
    world: SessionWorld, arguments: str
) -> None:
    for rows in ([session(0, 5)], []) if "by" not in arguments else ([session(0, 5)],):
        with pytest.raises(duckdb.Error, match=MISTAKES[arguments]):
            asked(world, rows, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("macro", ["explain_change", "time_to", "drivers"])
def test_an_attached_warehouse_never_answers_for_another(
    new_lake: Callable[[Path], Lake], tmp_path: Path, macro: str
) -> None:
    with duckdb.connect() as connection:
        for name in ("old", "new"):
            lake = new_lake(tmp_path / name)
            build(lake.home, BuildOptions())
            connection.execute(f"attach '{lake.home.warehouse}' as {name} (read_only)")
        connection.execute("use old")
        with pytest.raises(duckdb.Error, match=r"belongs to another warehouse .* Run USE"):
            connection.execute(f"from new.{macro}()")
        connection.execute(f"from {macro}()")
