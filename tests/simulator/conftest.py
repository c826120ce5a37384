"""One small simulator for the tests that only read, and a way to start others."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.simulator.reading import client_of


@pytest.fixture(scope="session")
def simulator() -> Iterator[RunningSimulator]:
    """300 embeds in 30 days, its clock at the end of them. Tests must not change it."""
    with running_simulator(SimulatorOptions(embeds=300)) as running:
        yield running


@pytest.fixture(scope="session")
def api(simulator: RunningSimulator) -> Iterator[httpx.Client]:
    with client_of(simulator) as client:
        yield client


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[RunningSimulator, httpx.Client]]]:
    """Starts a simulator of 40 embeds with the given options; gives it and a client with its key."""
    with ExitStack() as stack:

        def begin(**options: Any) -> tuple[RunningSimulator, httpx.Client]:
            running = stack.enter_context(running_simulator(SimulatorOptions.model_validate({"embeds": 40, **options})))
            return running, stack.enter_context(client_of(running))

        yield begin
