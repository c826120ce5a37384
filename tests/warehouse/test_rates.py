"""Every published rate has its count, its denominator and a Wilson interval, which is the textbook's."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal, localcontext
from random import Random
from statistics import NormalDist
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from pipelines.warehouse import statements
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.functions import create_functions, function_names
from pipelines.warehouse.model_files import read_models
from pipelines.warehouse.models import SQL, load_models
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.history import History
from tests.warehouse.lake import START, Lake, event

Z = Decimal(repr(NormalDist().inv_cdf(0.975)))
RATE = re.compile(r"^(\w+) / (\w+)\b")


def wilson(successes: int, trials: int) -> tuple[float | None, float | None]:
    """The textbook's interval (Wilson, 1927), with 50 digits."""
    if not trials:
        return None, None
    with localcontext() as context:
        context.prec = 50
        n = Decimal(trials)
        share, square = successes / n, Z * Z
        centre = (share + square / (2 * n)) / (1 + square / n)
        half = Z / (1 + square / n) * (share * (1 - share) / n + square / (4 * n * n)).sqrt()
        return float(centre - half), float(centre + half)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        create_functions(connection)
        yield connection


def asked(connection: duckdb.DuckDBPyConnection, successes: object, trials: object) -> tuple[float, float]:
    row = connection.execute(
        "select wilson_low($1::bigint, $2::bigint), wilson_high($1::bigint, $2::bigint)", [successes, trials]
    ).fetchone()
    assert row is not None
    return row


@settings(max_examples=examples(300))
@given(trials=st.one_of(st.integers(1, 50), st.integers(1, 10**12)), share=st.floats(0, 1))
@example(trials=10**12, share=1e-12)
@example(trials=1, share=0)
@example(trials=2**62, share=0.5)
def test_the_interval_is_wilsons(connection: duckdb.DuckDBPyConnection, trials: int, share: float) -> None:
    successes = min(round(trials * share), trials)
    low, high = asked(connection, successes, trials)
    expected_low, expected_high = wilson(successes, trials)
    assert low == pytest.approx(expected_low, rel=1e-12, abs=1e-15)
    assert high == pytest.approx(expected_high, rel=1e-12, abs=1e-15)
    assert 0 <= low <= successes / trials <= high <= 1
    assert (low == 0) == (successes == 0)
    # Nothing that the rate would be told apart from is a rate of all.
    assert high == 1 or successes < trials


def test_published_examples(connection: duckdb.DuckDBPyConnection) -> None:
    """Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3."""
    for successes, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                         (1, 29, 0.0061, 0.1718)):  # fmt: skip
        found = asked(connection, successes, trials)
        assert tuple(round(end, 4) for end in found) == (low, high)


def test_what_is_no_rate_has_no_interval(connection: duckdb.DuckDBPyConnection) -> None:
    for successes, trials in ((0, 0), (None, 5), (1, None), (2, 1), (-1, 5), (0, -1)):
        assert asked(connection, successes, trials) == (None, None)


def test_sums_of_counts_and_literals_are_counts(connection: duckdb.DuckDBPyConnection) -> None:
    sums = "select wilson_low(sum(a), sum(b)), wilson_high(sum(a), sum(b)) from (values (1, 4), (2, 6)) as t(a, b)"
    assert (
        connection.execute(sums).fetchone()
        == connection.execute("select wilson_low(3, 10), wilson_high(3, 10)").fetchone()
    )


def rates() -> list[tuple[str, str]]:
    return [
        (model.name, column)
        for model in load_models()
        for column in model.columns
        if "_rate" in column and not column.endswith(("_low", "_high"))
    ]


@pytest.fixture
def published(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    # Long before the history, so that every window of days has sessions.
    lake.write(
        event(f"old-{days}-{n}", 1000 + days, event_type, START - timedelta(days=days))
        for days in range(2, 70)
        for n, event_type in enumerate(["embed_initialized", "import_submitted"][: 1 + days % 2])
    )
    history = History(lake, Random(3))
    for _ in range(12):
        history.batch()
    now = history.now + timedelta(days=5)
    # One that is stuck, so that others can be compared with it.
    lake.write([event("stuck", 5000, "embed_initialized", now - timedelta(days=5))])
    lake.sweep(now)
    patient = Settings.defaults(embed_analytics_funnel_window_days=2, embed_analytics_idle_after_hours=6 * 24)
    build(lake.home, BuildOptions(patient))
    with connect_published(lake.home) as connection:
        yield connection


def test_every_published_rate_is_its_count_over_its_denominator_and_has_its_interval(
    published: duckdb.DuckDBPyConnection,
) -> None:
    documented = {model.name: model.columns for model in load_models()}
    assert len(rates()) == 12
    for table, rate in rates():
        counts = RATE.match(documented[table][rate])
        assert counts is not None, f"the comment of {table}.{rate} begins with its count / its denominator"
        found = rows_of(published.execute(f"from {table}"))
        assert any(row[rate] is not None for row in found), (table, rate)
        for row in found:
            _check(row, rate, row[counts[1]], row[counts[2]])


def _check(row: dict[str, Any], rate: str, count: int, total: int | None) -> None:
    assert row[rate] == (count / total if total else None)
    expected = wilson(count, total or 0)
    for end, value in zip(("low", "high"), expected, strict=True):
        assert row[f"{rate}_{end}"] == (None if value is None else pytest.approx(value, rel=1e-12, abs=1e-15))


def test_the_rates_of_any_funnel_have_theirs(published: duckdb.DuckDBPyConnection) -> None:
    for mode in ("ordered", "strict", "any"):
        given = f"mode := '{mode}', by := 'template_key', include_immature := true"
        found = rows_of(published.execute(f"from funnel({given})"))
        assert any(row["step_conversion_rate"] is not None for row in found)
        for row in found:
            _check(row, "conversion_rate", row["reached_count"], row["entered_count"])
            _check(row, "step_conversion_rate", row["reached_count"], row["previous_reached_count"])
            _check(row, "rate", row["mature_reached_count"], row["mature_count"])
        firsts = {row["breakdown"]: row["reached_count"] for row in found if row["step_number"] == 1}
        assert {row["breakdown"]: row["entered_count"] for row in found} == firsts


def test_the_funnels_chart_leaves_young_sessions_out_and_counts_them(lake: Lake) -> None:
    """30 days that are mature, one before them, and young ones."""
    days = {-40: 5, -39: 7, -12: 11, -10: 13, -9: 17, -3: 19}
    events: list[dict[str, Any]] = []
    for day, count in days.items():
        for number in range(count):
            at = START + timedelta(days=day)
            events.append(event(f"{day}-{number}", 100 * day + number, "embed_initialized", at))
            if number % 2:
                events.append(event(f"{day}-{number}s", 100 * day + number, "import_submitted", at))
    lake.write(events)
    lake.sweep(START)
    build(lake.home, BuildOptions(Settings.defaults()))
    with connect_published(lake.home) as connection:
        first, *_, last = rows_of(connection.execute(load_charts()["fct_embed_funnel_daily"].sql))
    # The day 9 days ago ended 8 days and some hours ago: the last mature one.
    assert (first["reached_count"], first["immature_count"]) == (11 + 13 + 17, 19)
    assert last["reached_count"] == 5 + 6 + 8
    assert (last["rate_low"], last["rate_high"]) == pytest.approx(wilson(19, 41))


def test_the_funnels_chart_of_a_new_account_says_how_many_are_too_young(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", START)])
    lake.sweep(START)
    build(lake.home, BuildOptions(Settings.defaults()))
    with connect_published(lake.home) as connection:
        for row in rows_of(connection.execute(load_charts()["fct_embed_funnel_daily"].sql)):
            assert (row["reached_count"], row["in_order_count"], row["immature_count"]) == (0, 0, 1)
            assert (row["rate_low"], row["rate_high"]) == (None, None)


@pytest.mark.slow
def test_models_that_call_a_function_change_with_it_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {model.name: model.code_version for model in read_models(SQL)}
    monkeypatch.setattr(statements, "functions_text", lambda: "another")
    after = {model.name: model.code_version for model in read_models(SQL)}
    changed = {name for name in before if before[name] != after[name]}
    calls = re.compile(rf"\b({'|'.join(function_names())})\(")
    assert changed == {path.stem for path in SQL.glob("*.sql") if calls.search(path.read_text(encoding="utf-8"))}
    assert {"fct_embeds", "rpt_stuck_embeds"} < changed < before.keys()
