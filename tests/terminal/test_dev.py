"""`make dev` and the command line read the same settings from the same places."""

import fcntl
import os
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.errors import ConfigurationError
from pipelines.settings import Settings
from pipelines.terminal.dev import dev_environment, run_dagster_dev

DOTENV = """
ONESCHEMA_API_KEY=
oneschema_region=eu
ONESCHEMA_ENVIRONMENT=Staging
EMBED_ANALYTICS_HOME=of-the-file
EMBED_ANALYTICS_DAGSTER_URL=https://dagster.example
ANOTHER_PROGRAMS=value
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a `.env`, and an environment that says otherwise in part."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ONESCHEMA_API_KEY", "of the environment")
    monkeypatch.setenv("ONESCHEMA_ENVIRONMENT", "")
    (tmp_path / ".env").write_text(DOTENV, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_dotenv_and_empty_values_are_missing(folder: Path) -> None:
    environment = dev_environment("127.0.0.1", 3000)

    assert environment["ONESCHEMA_API_KEY"] == "of the environment"
    assert environment["ONESCHEMA_REGION"] == "eu"
    assert environment["ONESCHEMA_ENVIRONMENT"] == "Staging"
    assert environment["EMBED_ANALYTICS_DAGSTER_URL"] == "https://dagster.example"
    assert environment["EMBED_ANALYTICS_HOME"] == str(folder / "of-the-file")
    assert environment["DAGSTER_HOME"] == str(folder / "of-the-file" / "dagster")
    assert "ANOTHER_PROGRAMS" not in environment


def test_links_lead_to_this_dagster_when_no_setting_says_otherwise(folder: Path) -> None:
    (folder / ".env").unlink()

    assert dev_environment("127.0.0.1", 3001)["EMBED_ANALYTICS_DAGSTER_URL"] == "http://127.0.0.1:3001"


def test_dagster_starts_where_it_finds_no_dotenv(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_in: list[Path] = []

    def start(*_: object, **__: object) -> None:
        started_in.append(Path.cwd())

    def ignore(*_: object) -> None:
        pass

    monkeypatch.setattr(runpy, "run_module", start)
    monkeypatch.setattr(signal, "signal", ignore)
    monkeypatch.setattr(sys, "argv", sys.argv)
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "EMBED_ANALYTICS_HOME", "ONESCHEMA_REGION"):
        monkeypatch.setenv(name, "")

    run_dagster_dev("127.0.0.1", free_port())

    (cwd,) = started_in
    assert not (cwd / ".env").exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_taken_port_is_refused(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*--port"):
            run_dagster_dev("127.0.0.1", port)


def test_a_second_one_on_a_home_is_refused(folder: Path) -> None:
    dagster = folder / "of-the-file" / "dagster"
    dagster.mkdir(parents=True)
    with (dagster / "dev.lock").open("w", encoding="utf-8") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.write("process 1, http://127.0.0.1:3000")
        first.flush()
        with pytest.raises(
            ConfigurationError, match=r"already running on .* \(process 1, http://127\.0\.0\.1:3000\).*_HOME"
        ):
            run_dagster_dev("127.0.0.1", free_port())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_job_in_the_background_ends_with_its_children(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """As a start script starts it: a shell that is not interactive has its background jobs ignore SIGINT."""
    command = f"{sys.executable} -m pipelines dev --port {free_port()} 2>&1 & echo $!; wait $!; echo ended $?"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**environment, "EMBED_ANALYTICS_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            assert shell.stdout is not None
            pid = int(shell.stdout.readline())
            assert any("Serving dagster-webserver on" in line for line in shell.stdout)
            os.kill(pid, number)
            # Ends when nobody has it open any more: the children have, too.
            *_, last = shell.stdout
            assert last.split() == ["ended", str(code)]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
