"""Homes in a folder that every user of the machine can reach, and one run of the whole pipeline into one."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import steps
from pipelines.poll.report import SweepRequest
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.build_report import BuildReport

Refresh = Callable[..., BuildReport]


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=15, days=3)) as running:
        yield running


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that other users can enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="embed-analytics-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def refresh(simulator: RunningSimulator) -> Refresh:
    """Sweep, flatten and publish into the home `root`; other settings by name."""

    def run(root: Path, **changes: Any) -> BuildReport:
        settings = settings_at(simulator, root, **changes)
        steps.sweep(settings, SweepRequest("refresh"), on_wait=print)
        steps.flatten(settings, on_wait=print)
        return steps.publish(settings, on_wait=print)

    return run


def settings_at(simulator: RunningSimulator, root: Path, **changes: Any) -> Settings:
    home = {"oneschema_api_url": simulator.url, "oneschema_api_key": simulator.api_key, "embed_analytics_home": root}
    return Settings.defaults(**{**home, **changes})
