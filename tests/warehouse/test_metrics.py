"""rpt_metrics: every number that is shown outside SQL, against a slow reference and the tables that say it, too."""

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from pipelines.terminal import demo
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.functions import create_functions
from tests.proving import examples
from tests.warehouse.answers import published_rows
from tests.warehouse.history import History
from tests.warehouse.lake import START, Lake, event
from tests.warehouse.metrics_oracle import ALL, MOST_PLANS, Key, Number, session_numbers
from tests.warehouse.test_rates import wilson

WINDOW = timedelta(days=2)
TOGETHER = "is_all_environments and is_all_templates"
NAMED = {"embed_analytics_customer_claim": "team", "embed_analytics_plan_claim": "user_id"}
DIMENSIONS = ("environment_name", "template_key", "plan", "customer_id")


def options(**named: str | None) -> BuildOptions:
    return BuildOptions(Settings.defaults(embed_analytics_funnel_window_days=WINDOW.days, **named), "test")


def key(row: dict[str, Any]) -> Key:
    flags = ("is_all_environments", "is_all_templates", "is_all_plans", "is_all_customers")
    names = [ALL if row[flag] else row[name] for flag, name in zip(flags, DIMENSIONS, strict=True)]
    return Key(row["metric"], row["step"], row["period"], row["period_start"], *names)


def told(lake: Lake) -> dict[Key, Number]:
    """The numbers of sessions that the published file has. No number is there twice."""
    found = published_rows(lake.home, "from rpt_metrics where open_count is not null")
    numbers = {key(row): Number(row["value"], row["numerator"], row["denominator"], row["open_count"]) for row in found}
    assert len(numbers) == len(found)
    return numbers


def world(new_lake: Callable[[Path], Lake], root: Path, seed: int, named: dict[str, str | None]) -> Lake:
    """A published warehouse after some batches of a generated history."""
    random = Random(seed)
    lake = new_lake(root / "home")
    history = History(lake, random)
    for _ in range(random.randrange(1, 40)):
        history.batch()
    lake.sweep(history.now)
    build(lake.home, options(**named))
    return lake


def approximately(numbers: dict[Key, Number]) -> dict[Key, Number]:
    return {
        which: Number(None if number.value is None else pytest.approx(number.value, rel=1e-9), *number[1:])  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
        for which, number in numbers.items()
    }


WORLDS = settings(
    max_examples=examples(6), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@pytest.mark.prove
@WORLDS
@given(seed=st.integers(0, 2**32), has_plan=st.booleans())
def test_every_number_of_sessions_is_what_its_definition_counts(
    new_lake: Callable[[Path], Lake], tmp_path_factory: pytest.TempPathFactory, seed: int, *, has_plan: bool
) -> None:
    named = NAMED if has_plan else NAMED | {"embed_analytics_plan_claim": None}
    lake = world(new_lake, tmp_path_factory.mktemp("world"), seed, {**named})
    (about,) = published_rows(lake.home, "from meta_build")
    expected = session_numbers(
        published_rows(lake.home, "from fct_embeds"), about["data_through"], WINDOW, has_plan=has_plan
    )
    assert told(lake) == approximately(expected)


@pytest.mark.slow
@pytest.mark.prove
@WORLDS
@given(seed=st.integers(0, 2**32))
def test_the_other_tables_say_the_same_and_parts_add_up_to_the_whole(
    new_lake: Callable[[Path], Lake], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    lake = world(new_lake, tmp_path_factory.mktemp("world"), seed, {**NAMED})
    for flag, name in (
        ("is_all_environments", "environment_name"),
        ("is_all_templates", "template_key"),
        ("is_all_plans", "plan"),
    ):
        others = f"* exclude (value, numerator, denominator, low, high, open_count, {flag}, {name})"
        sums = f"""
            from (
                select {others}, sum(numerator)::bigint as numerator, sum(denominator)::bigint as denominator,
                    sum(open_count)::bigint as open_count
                from rpt_metrics where not {flag} and period <> 'now' and numerator is not null group by all
            )
        """
        whole = f"""
            select {others}, numerator, denominator, open_count from rpt_metrics
            where {flag} and is_all_customers and period <> 'now' and numerator is not null
        """
        # What has no parts: events are not told apart by plan.
        by_plan = "and metric not in ('events', 'error_cells', 'operations', 'operations_by_hand')" * (name == "plan")
        parts = sums.replace("group by all", "and is_all_customers group by all")
        assert published_rows(lake.home, f"({parts}) except ({whole})") == []
        assert published_rows(lake.home, f"({whole} {by_plan}) except ({parts})") == []
    assert (
        published_rows(
            lake.home,
            """
            with funnel as (
                select entry_date, environment_name, template_key, step, sum(entered_count) as entered,
                    sum(reached_count) as reached, sum(performed_count) as performed, sum(skipped_count) as skipped,
                    sum(in_order_count) as in_order, sum(open_count) as open_count, bool_and(is_mature) as is_mature
                from fct_embed_funnel_daily group by all
            ),
            expected as (
                unpivot (select * replace (open_count::bigint as open_count, entered::bigint as entered) from funnel)
                on reached, performed, skipped, in_order into name metric value numerator
            )
            (
                select period_start, environment_name, template_key, step, denominator, open_count, is_mature, metric,
                    numerator
                from rpt_metrics
                where period = 'day' and is_all_plans and not is_all_environments and not is_all_templates
                    and metric in ('reached', 'performed', 'skipped', 'in_order')
            ) except (
                select entry_date, environment_name, template_key, step, entered, open_count, is_mature, metric,
                    numerator
                from expected
            )
            """,
        )
        == []
    )
    for period, suffix in (("last_28_days", "28d"), ("previous_28_days", "previous_28d")):
        customers = f"""
            select customer_id, template_key, entered_count_{suffix} as entered, submitted_count_{suffix} as submitted,
                conversion_rate_{suffix}_low as low, conversion_rate_{suffix}_high as high
            from rpt_customers where customer_id is not null and entered_count_{suffix} > 0
        """
        metrics = f"""
            select customer_id, template_key, denominator, numerator, low, high from rpt_metrics
            where period = '{period}' and metric = 'submitted' and not is_all_customers and not is_all_templates
        """
        assert (
            published_rows(lake.home, f"({customers}) except ({metrics})")
            == published_rows(lake.home, f"({metrics}) except ({customers})")
            == []
        )


@pytest.mark.slow
def test_the_chart_and_the_demo_show_the_funnel_of_the_same_days(lake: Lake) -> None:
    history = History(lake, Random(11))
    for _ in range(40):
        history.batch()
    lake.sweep(history.now)
    build(lake.home, options())
    expected = published_rows(
        lake.home,
        """
        select step, sum(reached_count)::bigint as reached, sum(in_order_count)::bigint as in_order,
            sum(skipped_count)::bigint as skipped
        from fct_embed_funnel_daily
        where is_mature and entry_date > (select max(period_end) from rpt_metrics where period = 'last_28_days') - 28
        group by step_number, step order by step_number
        """,
    )
    assert expected[0]["reached"] > expected[-1]["reached"] > 0
    panels = published_rows(lake.home, load_charts()["fct_embed_funnel_daily"].sql)
    chart = [row for row in panels if row["panel_number"] == 1]
    assert {row["panel"] for row in chart} == {"all templates"}
    assert [(row["step"], row["reached_count"], row["in_order_count"]) for row in chart] == [
        (row["step"], row["reached"], row["in_order"]) for row in expected
    ]
    (young,) = published_rows(
        lake.home, "select sum(entered_count) as n from fct_embed_funnel_daily where step_number = 1 and not is_mature"
    )
    assert {row["immature_count"] for row in chart} == {young["n"]}
    by_template = published_rows(
        lake.home,
        """
        select template_key, list(reached order by step_number) as counts, list(low order by step_number) as lows
        from (
            select template_key, step_number, sum(reached_count)::bigint as reached,
                wilson_low(sum(reached_count)::bigint, sum(entered_count)::bigint) as low
            from fct_embed_funnel_daily
            where is_mature
                and entry_date > (select max(period_end) from rpt_metrics where period = 'last_28_days') - 28
            group by all
        )
        group by all order by counts[1] desc, template_key
        """,
    )
    assert [row["template_key"] for row in by_template if row["template_key"] is None] == [None]
    for number, expected_panel in enumerate(by_template, start=2):
        panel = [row for row in panels if row["panel_number"] == number]
        assert {row["panel"] for row in panel} == {expected_panel["template_key"]}
        assert [row["reached_count"] for row in panel] == expected_panel["counts"]
        assert [row["rate_low"] for row in panel] == pytest.approx(expected_panel["lows"])
    assert max(row["panel_number"] for row in panels) == 1 + len(by_template) > 3
    shown = published_rows(lake.home, demo.FUNNEL)
    assert [(row["step"], row["embeds"], row["in order"], row["skipped"]) for row in shown] == [
        tuple(row.values()) for row in expected
    ]
    for row, drawn in zip(shown, chart, strict=True):
        assert row["% of entered"] == round(100 * row["embeds"] / shown[0]["embeds"], 1)
        assert row["95 % interval"] == f"{100 * drawn['rate_low']:.1f} to {100 * drawn['rate_high']:.1f}"
    assert [*published_rows(lake.home, demo.IMMATURE)[0].values()] == [young["n"]]


@pytest.mark.slow
def test_the_chart_of_errors_shows_rows_of_the_days(lake: Lake) -> None:
    history = History(lake, Random(11))
    for _ in range(40):
        history.batch()
    lake.sweep(history.now)
    build(lake.home, options())
    expected = published_rows(
        lake.home,
        """
        select event_date, template_key, sum(coalesce(latest_error_count, 0))::double as cells
        from fct_validation_errors_daily
        where event_date > (select max(event_date) from fct_events_daily) - 30 group by all having cells > 0
        """,
    )
    chart = published_rows(lake.home, load_charts()["fct_validation_errors_daily"].sql)
    assert {(row["event_date"], row["series"], row["row_count"]) for row in chart if row["row_count"]} == {
        tuple(row.values()) for row in expected
    }
    assert len({row["series"] for row in chart}) == 3


@pytest.mark.slow
def test_a_rate_is_of_its_counts_and_its_interval_is_wilsons(lake: Lake) -> None:
    history = History(lake, Random(5))
    for _ in range(30):
        history.batch()
    lake.sweep(history.now)
    build(lake.home, options(**NAMED))
    found = published_rows(lake.home, "from rpt_metrics where metric not like 'seconds%'")
    for row in found:
        low, high = wilson(row["numerator"], row["denominator"]) if row["denominator"] else (None, None)
        assert row["low"] == (None if low is None else pytest.approx(low, abs=1e-12))
        assert row["high"] == (None if high is None else pytest.approx(high, abs=1e-12))
        if row["denominator"] is None:
            assert row["value"] == row["numerator"]
        else:
            share = row["numerator"] / row["denominator"] if row["denominator"] else None
            assert row["value"] == (None if share is None else pytest.approx(share))
    assert any(row["low"] for row in found)
    assert {row["build_id"] for row in found} == {
        row["build_id"] for row in published_rows(lake.home, "from meta_build")
    }


@pytest.mark.slow
def test_a_period_is_mature_once_its_last_day_is(lake: Lake) -> None:
    lake.write(event(str(n), n, "embed_initialized", START + timedelta(days=n)) for n in range(66))
    # START is a Monday, so the day before the 63rd is a Sunday.
    for hours, mature_weeks in ((-1, 8), (0, 9)):
        lake.sweep(START.replace(hour=0) + timedelta(days=63, hours=hours) + WINDOW)
        build(lake.home, options())
        found = published_rows(lake.home, f"from rpt_metrics where metric = 'sessions' and {TOGETHER}")
        assert sum(row["is_mature"] for row in found if row["period"] == "week") == mature_weeks
        days = sorted(row["period_start"] for row in found if row["period"] == "day" and row["is_mature"])
        assert len(days) == 62 + (hours == 0)
        recent = {row["period"]: (row["value"], row["period_end"], row["is_mature"]) for row in found}
        assert recent["last_28_days"] == (28, days[-1], True)
        assert recent["previous_28_days"] == (28, days[-29], True)
        assert recent["since"][::2] == (66 - len(days), False)


@pytest.mark.slow
def test_an_empty_warehouse_says_what_it_holds_and_one_session_is_in_every_period(lake: Lake) -> None:
    build(lake.home, options())
    empty = {row["metric"]: row["value"] for row in published_rows(lake.home, "from rpt_metrics")}
    assert empty == {
        "open": 0, "stuck": 0, "stuck_helpable": 0, "held_events": 0, "quarantined_events": 0, "purged_events": None,
        "unheld_events": None, "unreconciled_days": 0, "broken_sweeps": 0, "failed_embeds": 0,
        "complete_days": 0, "unproven_days": 0, "incomplete_days": 0,
    }  # fmt: skip
    lake.write([event("a", 1, "embed_initialized", START)])
    build(lake.home, options())
    asked = f"select period, value, is_mature from rpt_metrics where metric = 'sessions' and {TOGETHER}"
    # No sweep has completed, so nothing is known to be mature.
    assert {tuple(row.values()) for row in published_rows(lake.home, asked)} == {
        (period, 1, False) for period in ("day", "week", "month", "since")
    }
    lake.sweep(START + timedelta(days=9))
    build(lake.home, options())
    assert {tuple(row.values()) for row in published_rows(lake.home, asked)} == {
        (period, 1, period != "month") for period in ("day", "week", "month", "last_28_days")
    }
    assert all(
        row["denominator"] == 0
        for row in published_rows(lake.home, "from rpt_metrics where value is null and open_count is not null")
    )


HOSTILE = [
    "all",
    "All",
    "",
    " ",
    "null",
    "is_all_templates",
    "'; drop table fct_embeds; --",
    "<script>",
    "\u202e$x$",
    "é",
    "e\u0301",
]


def test_any_name_is_only_a_name(lake: Lake) -> None:
    names = [*HOSTILE, None]
    lake.write(
        event(
            f"{n}",
            n,
            "embed_initialized",
            START,
            template_key=name,
            environment_name=name,
            claims={"user_id": name or "", "team": name or ""},
        )
        for n, name in enumerate(names)
    )
    lake.sweep(START + timedelta(days=9))
    build(lake.home, options(**NAMED))
    for flag, column in (("is_all_templates", "template_key"), ("is_all_environments", "environment_name")):
        others = {"is_all_templates", "is_all_environments", "is_all_plans"} - {flag}
        asked = f"""
            select {column}, value from rpt_metrics
            where metric = 'sessions' and period = 'last_28_days' and is_all_customers
        """
        one = published_rows(lake.home, f"{asked} and not {flag} and {' and '.join(sorted(others))}")
        assert sorted(one, key=str) == sorted(({column: name, "value": 1} for name in names), key=str)
        (together,) = published_rows(lake.home, f"{asked} and {TOGETHER} and is_all_plans")
        assert together == {column: None, "value": len(names)}


@pytest.mark.parametrize(("count", "is_split"), [(MOST_PLANS, True), (MOST_PLANS + 1, False)])
def test_a_claim_of_many_values_is_not_a_plan(lake: Lake, count: int, *, is_split: bool) -> None:
    later = START + timedelta(days=1)
    lake.write(
        [
            *(event(f"a{n}", n, "embed_initialized", START, claims={"user_id": f"plan {n}"}) for n in range(count)),
            event("b", 100, "embed_initialized", later, claims={"user_id": "plan 1"}),
            event("c", 101, "embed_initialized", later),
        ]
    )
    lake.sweep(START + timedelta(days=9))
    build(lake.home, options(**NAMED))

    def of(where: str) -> dict[tuple[str, str | None], float]:
        found = published_rows(lake.home, f"select period, plan, value from rpt_metrics where {TOGETHER} and {where}")
        return {(row["period"], row["plan"]): row["value"] for row in found}

    by_plan = "metric = 'sessions' and not is_all_plans"
    # The later day has its rows in any case; what holds the earlier one has all or none.
    assert of(f"{by_plan} and period = 'day' and period_start = '{later:%Y-%m-%d}'") == {
        ("day", "plan 1"): 1,
        ("day", None): 1,
    }
    longer = ("week", "month", "last_28_days")
    assert of(f"{by_plan} and plan = 'plan 1' and period <> 'day'") == (
        {(period, "plan 1"): 2 for period in longer} if is_split else {}
    )
    apart = of("metric = 'sessions_not_by_plan' and is_all_plans and period <> 'day'")
    assert apart == {(period, None): 0 if is_split else count for period in longer}


def test_days_of_events_have_their_events_errors_and_operations(lake: Lake) -> None:
    operation = "sheet_operation_performed"
    lake.write(
        [
            event("a", 1, "columns_mapped", START, counts={"sku": {"MISSING": 3}, "price": {"BAD": 4}}),
            event("b", 1, "columns_mapped", START + timedelta(minutes=1), counts={"sku": {"MISSING": 2}}),
            event("c", 2, operation, START),
            event("d", 2, operation, START, trigger_type="automation", template_key=None),
            event("e", 3, "embed_closed", START + timedelta(days=1)),
        ]
    )
    build(lake.home, options())
    days = [f"period_start = '{START + timedelta(days=n):%Y-%m-%d}'" for n in range(2)]

    def of(*where: str) -> list[float]:
        chosen = " and ".join(("period = 'day' and open_count is null and is_all_environments", *where))
        found = published_rows(lake.home, f"select metric, value from rpt_metrics where {chosen} order by metric")
        assert [row["metric"] for row in found] == ["error_cells", "events", "operations", "operations_by_hand"]
        return [row["value"] for row in found]

    assert of(days[0], "is_all_templates") == [2, 4, 2, 1]
    assert of(days[0], "not is_all_templates", "template_key is null") == [0, 1, 1, 0]
    assert of(days[1], "is_all_templates") == [0, 1, 0, 0]
    sums = [first + second for first, second in zip(*(of(day, "is_all_templates") for day in days), strict=True)]
    for table, column, total in zip(
        ("fct_validation_errors_daily", "fct_events_daily", "fct_sheet_operations_daily"),
        ("latest_error_count", "event_count", "operation_count"),
        sums,
        strict=False,
    ):
        assert published_rows(lake.home, f"select sum({column}) as total from {table}") == [{"total": total}]


def test_now_counts_who_is_open_and_stuck_and_how_complete_this_is(lake: Lake) -> None:
    lake.write(
        [event(f"o{n}", n, "file_uploaded", START + timedelta(hours=n), template_key=f"t{n % 2}") for n in range(5)],
        {"2026-03-02": 3, "2026-03-01": 1},
    )
    lake.sweep(START + timedelta(hours=6), failed_count=2)
    lake.sweep(START + timedelta(hours=7), is_complete=False)
    coverage = '[{"event_date": "2026-03-02", "held_at_source_count": 3, "held_purged_count": 2, "unheld_count": 1}]'
    found_more = (
        '[{"event_date": "2026-03-02", "environment_name": "Production", "source_count": 9, "unheld_count": 0}]'
    )
    lake.sweep(START + timedelta(hours=5), kind="reconcile", coverage=coverage, coverage_by_environment=found_more)
    build(lake.home, options())
    found = {key(row): row["value"] for row in published_rows(lake.home, "from rpt_metrics where period = 'now'")}
    totals = {
        which.metric: value for which, value in found.items() if which.template is ALL and which.environment is ALL
    }
    (stuck, helpable) = published_rows(
        lake.home, "select count(*) as n, count(*) filter (can_still_be_helped) as helped from rpt_stuck_embeds"
    )[0].values()
    assert stuck > helpable > 0
    verdicts = {
        row["verdict"]: row["n"]
        for row in published_rows(lake.home, "select verdict, count(*) as n from meta_completeness group by verdict")
    }
    (built_on,) = published_rows(lake.home, "select built_at::date as built_on from meta_build")[0].values()
    assert totals == {
        "open": 5, "stuck": stuck, "stuck_helpable": helpable, "held_events": 5, "quarantined_events": 4,
        "purged_events": 2, "unheld_events": 1, "unreconciled_days": 1, "broken_sweeps": 1, "failed_embeds": 2,
        "complete_days": 0, "unproven_days": verdicts["complete as far as the source can say"],
        "incomplete_days": verdicts["incomplete"],
    }  # fmt: skip
    assert verdicts == {"incomplete": 1, "complete as far as the source can say": (built_on - START.date()).days}
    assert found[Key("open", None, "now", None, ALL, "t0", ALL, ALL)] == 3


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_interval_of_a_quantile_holds_the_true_one_as_often_as_it_says(share: float) -> None:
    """By the exact binomial: the true quantile lies between the values of ranks r and s with this probability."""
    with duckdb.connect() as connection:
        create_functions(connection)
        z = NormalDist().inv_cdf(0.975)
        for n in [*range(40), 100, 1000]:
            ranks = connection.execute(
                "select quantile_low(range(1, $1 + 1), $2), quantile_high(range(1, $1 + 1), $2)", [n, share]
            ).fetchone()
            assert ranks is not None
            low, high = ranks
            half = z * math.sqrt(n * share * (1 - share))
            assert (low is None) == (n * share - half < 1)
            assert (high is None) == (n * share + half > n - 1)
            if low is None or high is None:
                continue
            chance = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(low, high))
            assert 0.95 <= chance < 0.99 or n < 40
            assert chance >= 0.95
