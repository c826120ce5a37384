"""The command line's errors are one line each, and say what to do; its answers can be read by people and programs."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.oneschema.client import FIRST_CONTACT, FIRST_CONTACT_TIMEOUT_SECONDS
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=15, days=4)) as running:
        yield running


def run(cwd: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {"EMBED_ANALYTICS_HOME": str(cwd / "home"), **settings}
    command = [sys.executable, "-m", "pipelines", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def fails(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It ended with exit code 1 and one line that says why, with all these words."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("embed-analytics: ")]
    assert all(word in line for word in words), line


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_missing_key(tmp_path: Path, key: str | None) -> None:
    settings = {} if key is None else {"ONESCHEMA_API_KEY": key}
    fails(run(tmp_path, "refresh", **settings), "ONESCHEMA_API_KEY", "missing or empty")


@pytest.mark.parametrize(
    "command", [["refresh"], ["reconcile"], ["backfill", "--from", "2026-01-01", "--to", "2026-01-02"]]
)
def test_a_missing_key_is_said_before_dagster_is_loaded(tmp_path: Path, command: list[str]) -> None:
    done = run(tmp_path, *command, PYTHONPROFILEIMPORTTIME="1")
    fails(done, "ONESCHEMA_API_KEY")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pipelines.settings" in imported
    assert not imported & {"dagster", "polars", "duckdb", "httpx"}


@pytest.mark.slow
def test_a_refused_key(tmp_path: Path, simulator: RunningSimulator) -> None:
    done = run(tmp_path, "refresh", ONESCHEMA_API_KEY="osk_wrong", ONESCHEMA_API_URL=simulator.url)
    fails(done, "refused the key", "401", "ONESCHEMA_API_KEY")
    assert "osk_wrong" not in done.stderr + done.stdout


# Of the thirty seconds in which a host that cannot be reached must be given up, those that the waiting may take. The
# rest is for starting, which takes what it takes on a busy machine: so the tests count attempts and not seconds.
WAITING_SECONDS = 22


def waiting_seconds(attempts: int, attempt_seconds: float) -> float:
    """The longest that so many attempts, each at most so long, and the waits between them can take."""
    return attempts * attempt_seconds + (attempts - 1) * FIRST_CONTACT.wait_max_seconds


@pytest.mark.slow
def test_a_host_that_refuses_connections_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run(tmp_path, "refresh", ONESCHEMA_API_KEY="k", ONESCHEMA_API_URL=f"http://127.0.0.1:{port}")
    fails(done, "cannot be reached", "ONESCHEMA_API_URL")
    assert waiting_seconds(FIRST_CONTACT.attempts, 0) <= WAITING_SECONDS


@pytest.mark.slow
def test_a_host_that_accepts_and_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        fails(run(tmp_path, "refresh", ONESCHEMA_API_KEY="k", ONESCHEMA_API_URL=url), "ONESCHEMA_API_URL")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in accepted:
        connection.close()
    assert accepted
    assert waiting_seconds(len(accepted), FIRST_CONTACT_TIMEOUT_SECONDS) <= WAITING_SECONDS


@pytest.mark.slow
def test_a_run_that_is_interrupted_ends_with_130(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = {"EMBED_ANALYTICS_HOME": str(tmp_path), "ONESCHEMA_API_KEY": "k", "ONESCHEMA_API_URL": url}
        command = [sys.executable, "-m", "pipelines", "refresh"]
        with subprocess.Popen(
            command, env=environment | settings, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as process:
            # It asks, and is not answered.
            connection, _ = server.accept()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            connection.close()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "stopped" in errors


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2026-13-01", "2026-01-02", ["--from", "YYYY-MM-DD"]),
        ("2026-01-01", "yesterday", ["--to", "YYYY-MM-DD"]),
        ("2026-01-03", "2026-01-02", ["--from", "--to"]),
        ("2026-01-03", "2999-01-02", ["--to", "future"]),
        ("1999-01-01", "2026-01-02", ["--from", "EMBED_ANALYTICS_START_DATE"]),
    ],
)
def test_a_bad_date(tmp_path: Path, first: str, last: str, words: list[str]) -> None:
    fails(run(tmp_path, "backfill", "--from", first, "--to", last, ONESCHEMA_API_KEY="k"), *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONESCHEMA_REGION", "mars"),
        ("EMBED_ANALYTICS_CONCURRENCY", "0"),
        ("EMBED_ANALYTICS_START_DATE", "soon"),
        ("ONESCHEMA_CLIENT_SECRETS", '{"id": "hidden'),
        ("EMBED_ANALYTICS_CLAIM_TYPES", '["hidden"]'),
        ("EMBED_ANALYTICS_REFRESH_CRON", "hourly-ish"),
    ],
)
def test_a_setting_that_cannot_be_used(tmp_path: Path, name: str, value: str) -> None:
    done = run(tmp_path, "refresh", ONESCHEMA_API_KEY="k", **{name: value})
    fails(done, name)
    assert "hidden" not in done.stderr


@pytest.mark.slow
def test_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    fails(run(tmp_path, "refresh", ONESCHEMA_API_KEY="k"), "EMBED_ANALYTICS_HOME", str(tmp_path / "home"))
    fails(run(tmp_path, "query", "select 1"), "warehouse")


@pytest.mark.slow
def test_the_readmes_env_file(tmp_path: Path, simulator: RunningSimulator) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    text = readme.partition("<<'EOF'\n")[2].partition("EOF\n")[0]
    (tmp_path / ".env").write_text(text.replace("API_KEY=...", f"API_KEY={simulator.api_key}"), encoding="utf-8")
    done = run(tmp_path, "refresh", ONESCHEMA_API_URL=simulator.url)
    assert done.returncode == 0, done.stderr
    answer = run(tmp_path, "query", "select distinct environment_name as e from fct_embeds", "--format", "csv")
    assert answer.stdout.split() == ["e", "Production"]


def test_no_warehouse_yet(tmp_path: Path) -> None:
    fails(run(tmp_path, "query", "select 1"), "warehouse", "embed-analytics refresh")


@pytest.mark.parametrize("option", ["--days", "--days-ahead"])
def test_a_world_without_end(tmp_path: Path, option: str) -> None:
    fails(run(tmp_path, "simulate", option, "inf"), option, "finite")


def test_unknown_faults_are_named(tmp_path: Path) -> None:
    fails(run(tmp_path, "simulate", "--faults", "gremlins=0.1"), "gremlins", "429")


@pytest.mark.slow
def test_a_run_its_answers_and_a_home_of_another_organisation(tmp_path: Path, simulator: RunningSimulator) -> None:
    account = {"ONESCHEMA_API_KEY": simulator.api_key, "ONESCHEMA_API_URL": simulator.url}
    done = run(tmp_path, "refresh", **account)
    assert done.returncode == 0, done.stderr
    assert "15 of 15 listed embeds" in done.stdout
    assert "warehouse.duckdb" in done.stdout
    again = run(tmp_path, "backfill", "--from", "2026-01-20", "--to", "2026-01-28", **account)
    assert again.returncode == 0, again.stderr
    assert "landed 0 new events" in again.stdout

    count = "select count(*) as embeds, 'ü' as letter from fct_embeds"
    assert run(tmp_path, "query", count, "--format", "csv").stdout.split() == ["embeds,letter", "15,ü"]
    assert json.loads(run(tmp_path, "query", count, "--format", "json").stdout) == [{"embeds": 15, "letter": "ü"}]
    assert "embeds" in run(tmp_path, "query", count).stdout
    assert run(tmp_path, "query", f"-- why\n{count}", "--format", "csv").stdout.split() == ["embeds,letter", "15,ü"]
    fails(run(tmp_path, "query", "select nothing from nowhere"), "nowhere")
    fails(run(tmp_path, "query", "delete from stg_embed_events"), "read-only", "DELETE FROM")
    fails(run(tmp_path, "query", "select 1", "--format", "xml"), "--format", "csv")

    with running_simulator(SimulatorOptions(embeds=3, days=2, organisation="Somebody Else")) as other:
        wrong = run(tmp_path, "refresh", ONESCHEMA_API_KEY=other.api_key, ONESCHEMA_API_URL=other.url)
        fails(wrong, "Northwind Importers", "Somebody Else", "EMBED_ANALYTICS_HOME")


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"embed-analytics {version('embed-analytics')}\n"


def test_a_shell_completes_the_commands(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("embed-analytics"))
    asked = {"COMP_WORDS": "embed-analytics re", "COMP_CWORD": "1", "_EMBED_ANALYTICS_COMPLETE": "complete_bash"}
    done = subprocess.run([program], env=os.environ | asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"refresh", "reconcile"} <= set(done.stdout.split())
    assert all(word.startswith("re") for word in done.stdout.split())
