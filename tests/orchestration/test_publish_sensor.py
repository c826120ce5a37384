"""What follows a backfill in the UI, by real ticks over the event log of real runs."""

import dagster as dg
import pytest

from pipelines.home.layout import Home
from pipelines.orchestration.jobs import RANGE_END, RANGE_START, partition_range, run_config
from pipelines.orchestration.sensors import publish_after_backfill
from pipelines.settings import Settings
from pipelines.terminal.runs import run_job
from tests.orchestration.conftest import LAST_DAY, last_line, materialize

RAW = dg.AssetKey(["raw", "embed_events"])
LAKE = [dg.AssetKey(["lake", "embed_events"]), dg.AssetKey(["lake", "validation_errors"])]
TODAY = partition_range(LAST_DAY, LAST_DAY)


class Ticks:
    """The sensor and its cursor."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._repository = definitions.get_repository_def()
        self._instance = instance
        self._cursor: str | None = None
        # The first tick only notes where it begins.
        assert not self.requests()

    def requests(self) -> list[dg.RunRequest]:
        """What the next ticks ask for, one ended run per tick, until no ended run is left."""
        found: list[dg.RunRequest] = []
        while True:
            context = dg.build_sensor_context(
                instance=self._instance, cursor=self._cursor, repository_def=self._repository
            )
            data = publish_after_backfill.evaluate_tick(context)
            found += data.run_requests or []
            if data.cursor == self._cursor:
                return found
            self._cursor = data.cursor


@pytest.fixture
def ticks(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Ticks:
    return Ticks(definitions, instance)


def _materialize(definitions: dg.Definitions, instance: dg.DagsterInstance, *keys: dg.AssetKey) -> str:
    """Materialises the partition of the last day as the UI does."""
    result = materialize(definitions, instance, *keys, tags=TODAY)
    assert result.success
    return result.run_id


@pytest.mark.slow
def test_raw_alone_is_followed_by_flattening_and_publishing(
    settings: Settings, home: Home, definitions: dg.Definitions, instance: dg.DagsterInstance, ticks: Ticks
) -> None:
    run_id = _materialize(definitions, instance, RAW)

    (request,) = ticks.requests()

    assert (request.job_name, request.run_key) == ("flatten", run_id)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == (str(LAST_DAY), str(LAST_DAY))
    run_job(settings, "flatten", dict(request.run_config), TODAY)
    assert home.warehouse.exists()
    assert str(LAST_DAY) in instance.get_materialized_partitions(LAKE[0])
    assert not ticks.requests()


def test_raw_and_lake_are_followed_by_publishing(
    definitions: dg.Definitions, instance: dg.DagsterInstance, ticks: Ticks
) -> None:
    run_id = _materialize(definitions, instance, RAW, *LAKE)

    (request,) = ticks.requests()

    assert (request.job_name, request.run_key) == ("publish", run_id)
    # The run's log ends with what it did, and this one did not publish.
    line = last_line(instance, run_id)
    assert line.startswith("asked ")
    assert " days, no warnings" in line


@pytest.mark.slow
def test_runs_that_publish_by_themselves_are_followed_by_nothing(
    settings: Settings, definitions: dg.Definitions, instance: dg.DagsterInstance, ticks: Ticks
) -> None:
    run_job(settings, "refresh", run_config("refresh"), TODAY)
    assert not ticks.requests()

    # The warehouse alone is followed by the page, and with the page by nothing.
    warehouse, page = dg.AssetKey(["warehouse", "fct_embeds"]), dg.AssetKey(["report"])
    run_id = _materialize(definitions, instance, warehouse)
    (request,) = ticks.requests()
    assert (request.job_name, request.run_key) == ("write_page", run_id)
    settings.home.report.unlink()
    run_job(settings, "write_page", {}, {})
    assert settings.home.report.exists()
    _materialize(definitions, instance, warehouse, page)
    assert not ticks.requests()


@pytest.mark.slow
def test_the_last_range_of_a_backfill_publishes_for_all(
    definitions: dg.Definitions, instance: dg.DagsterInstance, ticks: Ticks
) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED, tags={"dagster/backfill": "abc"})
    result = job.execute_in_process(
        asset_selection=[RAW, *LAKE], instance=instance, tags={**TODAY, "dagster/backfill": "abc"}
    )
    assert result.success
    assert not ticks.requests()

    instance.report_run_canceled(waiting)
    job.execute_in_process(asset_selection=[RAW, *LAKE], instance=instance, tags={**TODAY, "dagster/backfill": "abc"})
    assert [request.job_name for request in ticks.requests()] == ["publish"]
