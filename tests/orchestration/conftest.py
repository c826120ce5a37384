"""Fixtures of the Dagster tests."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.home.layout import Home
from pipelines.orchestration.instance.opening import open_instance
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.terminal.runs import RunSummary, run_job
from tests.orchestration.alert_endpoint import AlertEndpoint, running_alert_endpoint

# The simulator's history ends at noon of this day.
LAST_DAY = datetime.fromtimestamp(SimulatorOptions().now or 0, UTC).date()


@pytest.fixture
def alert_endpoint() -> Iterator[AlertEndpoint]:
    with running_alert_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[RunningSimulator]:
    with running_simulator(getattr(request, "param", SimulatorOptions(embeds=40, days=4, seed=5))) as running:
        yield running


@pytest.fixture
def settings(simulator: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a home of its own at the simulator; Dagster's environment is as before afterwards."""
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
    return Settings.defaults(
        oneschema_api_url=simulator.url,
        oneschema_api_key=simulator.simulation.options.api_key,
        embed_analytics_home=tmp_path / "home",
    )


@pytest.fixture
def definitions(settings: Settings) -> dg.Definitions:
    """Definitions whose partitions begin before the simulator's history, as they would once it has landed."""
    return build_definitions(settings.model_copy(update={"embed_analytics_start_date": LAST_DAY - timedelta(days=30)}))


@pytest.fixture
def home(settings: Settings) -> Home:
    return settings.home


@pytest.fixture
def instance(home: Home) -> Iterator[dg.DagsterInstance]:
    with open_instance(home) as opened:
        yield opened


def backfill(settings: Settings, days: int) -> RunSummary:
    """Backfill the `days` days that end with the simulator's last."""
    dates = partition_range(LAST_DAY - timedelta(days=days - 1), LAST_DAY)
    return run_job(settings, "backfill", run_config("backfill"), dates)


def materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *keys: dg.AssetKey,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """What the UI's Materialize does: it adds what the assets' functions make besides, and says so first."""
    graph = definitions.get_repository_def().asset_graph
    together = {made for key in keys for made in graph.get(key).execution_set_asset_keys}
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=sorted(together), instance=instance, tags=tags, raise_on_error=False
    )


def last_line(instance: dg.DagsterInstance, run_id: str) -> str:
    """The last line that a run's steps wrote to its log."""
    return [entry.user_message for entry in instance.all_logs(run_id) if not entry.is_dagster_event][-1]
