"""When data is late follows from when the refresh runs: in SQL, and in Dagster."""

from datetime import datetime, timedelta
from itertools import pairwise

import dagster as dg
import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.upkeep import freshness_of
from pipelines.errors import ConfigurationError
from pipelines.settings import Settings
from pipelines.warehouse import build as build_module
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.freshness import late_after
from tests.proving import FACTOR
from tests.warehouse.lake import Lake, at, event


@pytest.mark.parametrize(
    ("cron", "gap"),
    [
        ("7 * * * *", timedelta(hours=1)),
        ("*/5 * * * *", timedelta(minutes=5)),
        ("0 3 * * *", timedelta(days=1)),
        ("@daily", timedelta(days=1)),
        ("0 6 * * 1", timedelta(days=7)),
        # From Friday 17:59 to Monday 9:00.
        ("* 9-17 * * 1-5", timedelta(days=2, hours=15, minutes=1)),
        ("0 6 * * 1#2", timedelta(days=35)),
        ("0 0 1 * *", timedelta(days=31)),
    ],
)
def test_one_refresh_may_be_missed(cron: str, gap: timedelta) -> None:
    assert late_after(Settings.defaults(embed_analytics_refresh_cron=cron)) == 2 * gap + timedelta(hours=1)


def listed(most: int) -> st.SearchStrategy[str]:
    """A field of a cron expression: everything, every few, or a list."""
    number = st.integers(0, most)
    return st.one_of(
        st.just("*"),
        st.integers(1, most).map("*/{}".format),
        st.lists(number, min_size=1, max_size=3).map(lambda numbers: ",".join(map(str, numbers))),
    )


@given(minute=listed(59), hour=listed(23))
@settings(max_examples=20 * FACTOR)
def test_a_schedule_that_repeats_daily_shows_its_longest_gap_in_two_days(minute: str, hour: str) -> None:
    """Compared with every tick of ten days."""
    cron, begin, times = f"{minute} {hour} * * *", datetime(2024, 1, 1), list[datetime]()
    schedule = croniter(cron, begin)
    while not times or times[-1] - begin < timedelta(days=10):
        times.append(schedule.get_next(datetime))
    gap = max(after - before for before, after in pairwise(times))
    assert late_after(Settings.defaults(embed_analytics_refresh_cron=cron)) == 2 * gap + timedelta(hours=1)


@pytest.mark.parametrize("cron", ["nope", "0 0 31 2 *", "* * * * * *", "61 * * * *"])
def test_what_is_no_time_is_named(cron: str) -> None:
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_REFRESH_CRON"):
        late_after(Settings.defaults(embed_analytics_refresh_cron=cron))


@pytest.mark.slow
@pytest.mark.parametrize(("cron", "hours"), [("7 * * * *", 3), ("7 3 * * *", 49)])
def test_the_check_warns_once_data_is_late(lake: Lake, monkeypatch: pytest.MonkeyPatch, cron: str, hours: int) -> None:
    lake.write([event("a", 1, "embed_closed", at(0))])
    lake.sweep(at(0))
    options = BuildOptions(Settings.defaults(embed_analytics_refresh_cron=cron), "test")
    for minutes, is_late in ((0, False), (1, True)):
        monkeypatch.setattr(build_module, "utc_now", lambda late=minutes: at(60 * hours + late))
        failed = {check.name for check in build(lake.home, options).failed_checks}
        assert ("data_fresh" in failed) == is_late


def test_dagster_warns_then_too_and_fails_a_day_later() -> None:
    policy = freshness_of(Settings.defaults(embed_analytics_refresh_cron="7 3 * * *"))
    assert policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=73), warn_window=timedelta(hours=49))
