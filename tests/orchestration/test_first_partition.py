"""Partitions begin with what the home holds, and never move forward."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home, partition_folder
from pipelines.orchestration.first_partition import first_partition, include_in_partitions
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.terminal.runs import run_job
from tests.orchestration.conftest import LAST_DAY

RAW = dg.AssetKey(["raw", "embed_events"])
TODAY = datetime.now(UTC).date()


def settings_of(root: Path, **changes: object) -> Settings:
    return Settings.defaults(embed_analytics_home=root, **changes)


def land(root: Path, *days: object) -> None:
    for day in days:
        partition_folder(Home(root).raw_embed_events, str(day)).mkdir(parents=True)


def begins(settings: Settings) -> str | None:
    partitions = build_definitions(settings).get_repository_def().asset_graph.get(RAW).partitions_def
    assert partitions is not None
    return partitions.get_first_partition_key()


def test_the_earliest_plausible_day_that_is_held(tmp_path: Path) -> None:
    land(tmp_path, "2025-03-09", "2025-03-07", "unknown", "1970-01-01", "2019-12-31", "9999-01-01", "20250101", "x")
    assert begins(settings_of(tmp_path)) == "2025-03-07"


def test_the_setting_wins_and_may_not_lie_in_the_future(tmp_path: Path) -> None:
    land(tmp_path, "2025-03-07")
    assert begins(settings_of(tmp_path, embed_analytics_start_date=date(2025, 3, 8))) == "2025-03-08"
    assert begins(settings_of(tmp_path, embed_analytics_start_date=date(2019, 1, 1))) == "2019-01-01"
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_START_DATE"):
        first_partition(settings_of(tmp_path, embed_analytics_start_date=TODAY + timedelta(days=1)))


def test_it_moves_backward_and_never_forward(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    land(tmp_path, "2025-03-09")
    assert begins(settings) == "2025-03-09"
    land(tmp_path, "2025-03-07")
    assert begins(settings) == "2025-03-07"
    partition_folder(Home(tmp_path).raw_embed_events, "2025-03-07").rmdir()
    assert begins(settings) == "2025-03-07"
    assert include_in_partitions(Home(tmp_path), date(2025, 3, 1)) == date(2025, 3, 1)
    assert include_in_partitions(Home(tmp_path), date(2025, 3, 8)) == date(2025, 3, 1)
    assert begins(settings) == "2025-03-01"


@pytest.mark.parametrize("damage", [b"", b"soon", b"\xff\xfe", b"9999-01-01", None])
def test_what_is_noted_may_be_lost(tmp_path: Path, damage: bytes | None) -> None:
    land(tmp_path, "2025-03-09")
    settings = settings_of(tmp_path)
    assert begins(settings) == "2025-03-09"
    (note,) = (path for path in (tmp_path / "state").iterdir() if path.is_file())
    if damage is None:
        note.unlink()
    else:
        note.write_bytes(damage)
    assert begins(settings) == "2025-03-09"


def test_an_empty_home_begins_on_the_day_it_was_first_asked_and_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.orchestration import first_partition as module

    assert first_partition(settings_of(tmp_path)) == TODAY
    monkeypatch.setattr(module, "_today", lambda: TODAY + timedelta(days=40))
    assert first_partition(settings_of(tmp_path)) == TODAY


def test_looking_at_the_definitions_makes_no_home(tmp_path: Path) -> None:
    assert begins(settings_of(tmp_path / "home")) == str(TODAY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_days_that_land_before_the_first_partition_are_known_to_the_next_definitions(
    settings: Settings, home: Home, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "refresh", run_config("refresh"), partition_range(LAST_DAY, LAST_DAY))

    held = {path.name.removeprefix("event_date=") for path in home.raw_embed_events.iterdir()} | {str(LAST_DAY)}
    assert begins(settings) == min(held) < str(LAST_DAY)
    assert instance.get_materialized_partitions(RAW) == held


@pytest.mark.slow
def test_a_day_that_is_asked_for_is_a_partition_from_then_on(settings: Settings, instance: dg.DagsterInstance) -> None:
    asked = LAST_DAY - timedelta(days=30)
    run_job(settings, "backfill", run_config("backfill"), partition_range(asked, LAST_DAY))

    assert begins(settings) == str(asked)
    assert str(asked) in instance.get_materialized_partitions(RAW)
