"""An event whose time is not plausible is kept and counted, and moves nothing: no outcome, order, cohort or chart."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.history import History, wrongly_dated
from tests.warehouse.lake import START, Lake, at, event

OPTIONS = BuildOptions(Settings.defaults())

# What an event counts in, whenever it says that it happened.
COUNTS = ("event_count", "upload_count", "mapping_count", "operation_count", "resumed_count", "closed_count")


def rows(home: Home, sql: str) -> list[tuple[Any, ...]]:
    with connect_published(home) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(6), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_without_them_the_numbers_are_the_same(
    new_lake: Callable[[Path], Lake], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = Random(seed)
    root = tmp_path_factory.mktemp("homes")
    history = History(new_lake(root / "history"), random)
    for _ in range(6):
        history.batch()
    end = history.now
    plausible = [row for row in history.events.values() if datetime(2020, 1, 1) <= row["occurred_at"] <= end]
    wrong: list[dict[str, Any]] = []
    for number in range(25):
        row = history.event(f"e{100_000 + number}", random.choice(plausible)["embed_id"], START)
        row = {name: value for name, value in row.items() if not name.startswith("claim_")} | {"claims": None}
        wrong.append(row | wrongly_dated(random, end + timedelta(microseconds=1)))
    homes: list[Home] = []
    for name, events in (("without", plausible), ("with", [*plausible, *wrong])):
        lake = new_lake(root / name)
        lake.write([row | {"lake_partition": "unknown"} for row in events])
        lake.sweep(end)
        build(lake.home, OPTIONS)
        homes.append(lake.home)
    without, with_them = homes
    compared = {
        "fct_embeds": f"select * exclude ({', '.join(COUNTS)}) from fct_embeds order by embed_id",
        **{
            name: f"select * from {name} order by all"
            for name in (
                "fct_embed_funnel_daily",
                "fct_events_daily",
                "fct_sheet_operations_daily",
                "fct_validation_errors_daily",
                "fct_embed_validation_errors",
                "rpt_stuck_embeds",
            )
        },
        "funnel": "select * from funnel(include_immature := true) order by all",
        "strict": "select * from funnel(mode := 'strict', unit := 'user', include_immature := true) order by all",
    }
    for name, sql in compared.items():
        assert rows(with_them, sql) == rows(without, sql), name
    total = "select sum(event_count) from fct_embeds"
    assert rows(with_them, total)[0][0] == rows(without, total)[0][0] + len(wrong)
    failing = "not occurred_at between plausible_from and plausible_until"
    assert rows(with_them, f"select count(*) from stg_embed_events, meta_build where {failing}") == [(len(wrong),)]


def test_a_session_without_a_plausible_time_has_none_and_is_in_no_cohort(lake: Lake) -> None:
    lake.write(
        [
            event("a", 1, "embed_initialized", datetime(1970, 1, 1), claims={"user_id": "u"}),
            event("b", 1, "import_submitted", datetime(9999, 12, 31)),
            event("c", 2, "embed_initialized", at(0)),
        ]
    )
    lake.sweep(at(60))
    report = build(lake.home, OPTIONS)
    assert [check.name for check in report.failed_checks if check.severity == "error"] == []
    assert "event_times_plausible" in [check.name for check in report.failed_checks]
    assert rows(
        lake.home,
        "select embed_id, entry_at, last_event_at, import_submitted_at, outcome, event_count, furthest_step, user_id, "
        "template_key from fct_embeds order by embed_id",
    ) == [
        (1, None, None, None, "unknown", 2, "embed_initialized", "u", "products"),
        (2, at(0), at(0), None, "open", 1, "embed_initialized", None, "products"),
    ]
    assert rows(lake.home, "select distinct entered_count from fct_embed_funnel_daily") == [(1,)]


@pytest.mark.slow
def test_time_makes_an_event_plausible(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0)), event("b", 1, "import_submitted", at(60 * 50))])
    outcomes: list[tuple[str, int, bool]] = []
    for hours in (1, 25, 26, 51):
        lake.sweep(at(60 * hours))
        report = build(lake.home, OPTIONS)
        warned = "event_times_plausible" in [check.name for check in report.failed_checks]
        ((outcome,),) = rows(lake.home, "select outcome from fct_embeds")
        ((submitted,),) = rows(lake.home, "select count(*) from fct_events_daily where event_type = 'import_submitted'")
        outcomes.append((outcome, submitted, warned))
    assert outcomes == [("open", 0, True), ("silent", 0, True), ("submitted", 1, False), ("submitted", 1, False)]


@pytest.mark.slow
def test_a_sweep_later_than_the_build_is_not_believed(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0))])
    ahead = datetime(2300, 1, 1)
    lake.sweep(ahead, is_complete=True)
    assert build(lake.home, OPTIONS).data_through is None
    lake.sweep(at(60), failed_count=3)
    report = build(lake.home, OPTIONS)
    assert report.data_through == at(60)
    # The checks that look at the latest sweep look at the latest believable one.
    assert "sweep_succeeded" in [check.name for check in report.failed_checks]
    assert rows(lake.home, "select failed_embed_count, data_through from meta_build") == [(3, at(60))]
    lake.sweep(at(120))
    assert "sweep_succeeded" not in [check.name for check in build(lake.home, OPTIONS).failed_checks]


def test_sweeps_from_before_a_column_was_added_are_read(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0))])
    lake.sweep(at(60))
    for path in lake.home.raw_sweeps.glob("*.parquet"):
        pl.read_parquet(path).drop("list_total_count").write_parquet(path)
    assert build(lake.home, OPTIONS).data_through == at(60)
    assert rows(lake.home, "select list_total_count from meta_sweeps") == [(None,)]


def test_an_event_type_is_known_of_whatever_time_its_events_say(lake: Lake) -> None:
    lake.write(
        [
            event("a", 1, "embed_initialized", at(0)),
            event("b", 1, "sheet_teleported", datetime(9999, 1, 1), trigger_type="ghost"),
        ]
    )
    lake.sweep(at(60))
    report = build(lake.home, OPTIONS)
    assert "event_types_known" in [check.name for check in report.failed_checks]
    assert rows(
        lake.home,
        "select event_count, first_seen_at, unknown_trigger_types from meta_event_types "
        "where event_type = 'sheet_teleported'",
    ) == [(1, None, "ghost")]
