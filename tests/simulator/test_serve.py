"""The simulator as a process of its own, and its thread in this one."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator

SERVE = """
import sys
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import serve
try:
    serve(SimulatorOptions(embeds=5, api_key="key-of-this-test"))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_first_where_it_listens_and_stops_when_told(stop: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("simulator listening on http://127.0.0.1:")
        url = first.split()[-1]
        assert httpx.get(f"{url}/whoami", headers={"X-API-KEY": "key-of-this-test"}).status_code == 200
        assert process.stdout.readline() == "API key: key-of-this-test\n"
        assert process.stdout.readline() == f"admin: {url}/_simulator/\n"
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (rest, errors) == ("", "")
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)


def test_a_taken_port_is_said_in_one_line() -> None:
    with running_simulator(SimulatorOptions(embeds=1)) as running:
        port = int(running.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigurationError, match=f"{port}.*--port"), running_simulator(SimulatorOptions(port=port)):
            pass


def open_files() -> list[Path]:
    """This process's descriptors, where the system shows them."""
    folder = Path("/proc/self/fd")
    return list(folder.iterdir()) if folder.exists() else []


def test_the_thread_and_the_port_are_gone_afterwards() -> None:
    before = set(threading.enumerate())
    before_files = open_files()
    with running_simulator(SimulatorOptions(embeds=1)) as running:
        assert httpx.get(running.url).status_code == 401
    assert set(threading.enumerate()) == before
    assert len(open_files()) <= len(before_files)
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url)


def test_two_simulators_side_by_side_know_nothing_of_each_other() -> None:
    with (
        running_simulator(SimulatorOptions(embeds=3)) as first,
        running_simulator(SimulatorOptions(embeds=4, api_key=SecretStr("another"))) as second,
    ):
        assert (len(first.truth_embeds()), len(second.truth_embeds())) == (3, 4)
        first.advance(5)
        assert first.simulation.clock.now() != second.simulation.clock.now()
        assert httpx.get(f"{second.url}/whoami", headers={"X-API-KEY": first.api_key}).status_code == 401
