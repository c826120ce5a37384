"""A simulated account and a home that was refreshed from it once, for the tests that look at such a home."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.terminal.test_cli import run


@pytest.fixture(scope="session")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=40, days=4)) as running:
        yield running


@pytest.fixture(scope="session")
def refreshed(simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `home` is as its first refresh left it. Not to be changed."""
    folder = tmp_path_factory.mktemp("refreshed")
    done = run(folder, "refresh", ONESCHEMA_API_KEY=simulator.api_key, ONESCHEMA_API_URL=simulator.url)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(refreshed: Path, tmp_path: Path) -> Path:
    """A folder with a copy of that home."""
    shutil.copytree(refreshed / "home", tmp_path / "home")
    return tmp_path
