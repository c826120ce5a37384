"""The command line's errors are one line each, and say what to do; its answers can be read by people and programs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    """It ended with 1 and one line that says why, which has all the words."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("embed-analytics: ")]
    assert all(word in line for word in words), line


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_missing_key(tmp_path: Path, key: str | None) -> None:
    settings = {} if key is None else {"ONESCHEMA_API_KEY": key}
    fails(run(tmp_path, "refresh", **settings), "ONESCHEMA_API_KEY", "missing or empty")


def test_a_refused_key(tmp_path: Path, simulator: RunningSimulator) -> None:
    done = run(tmp_path, "refresh", ONESCHEMA_API_KEY="osk_wrong", ONESCHEMA_API_URL=simulator.url)
    fails(done, "refused the key", "401", "ONESCHEMA_API_KEY")
    assert "osk_wrong" not in done.stderr + done.stdout


def test_an_unreachable_host_ends_within_thirty_seconds(tmp_path: Path) -> None:
    # A port that nothing listens on, and an address that swallows what is sent there.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    done = run(tmp_path, "refresh", ONESCHEMA_API_KEY="k", ONESCHEMA_API_URL=f"http://127.0.0.1:{port}")
    fails(done, "cannot be reached", "ONESCHEMA_API_URL")
    assert time.monotonic() - started < 30


def test_a_host_that_accepts_and_never_answers_ends_within_thirty_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        started = time.monotonic()
        done = run(tmp_path, "refresh", ONESCHEMA_API_KEY="k", ONESCHEMA_API_URL=url)
        fails(done, "ONESCHEMA_API_URL")
        assert time.monotonic() - started < 30


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONESCHEMA_REGION", "mars"), ("EMBED_ANALYTICS_CONCURRENCY", "0"), ("EMBED_ANALYTICS_START_DATE", "soon")],
)
def test_a_setting_that_cannot_be_used(tmp_path: Path, name: str, value: str) -> None:
    fails(run(tmp_path, "refresh", ONESCHEMA_API_KEY="k", **{name: value}), name)


def test_no_warehouse_yet(tmp_path: Path) -> None:
    fails(run(tmp_path, "query", "select 1"), "warehouse", "embed-analytics refresh")


def test_unknown_faults_are_named(tmp_path: Path) -> None:
    fails(run(tmp_path, "simulate", "--faults", "gremlins=0.1"), "gremlins", "429")


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
    assert json.loads(run(tmp_path, "query", count, "--format", "json").stdout) == {"embeds": 15, "letter": "ü"}
    assert "embeds" in run(tmp_path, "query", count).stdout
    fails(run(tmp_path, "query", "select nothing from nowhere"), "nowhere")
    fails(run(tmp_path, "query", "delete from stg_embed_events"), "read-only")
    fails(run(tmp_path, "query", "select 1", "--format", "xml"), "--format", "csv")

    with running_simulator(SimulatorOptions(embeds=3, days=2, organisation="Somebody Else")) as other:
        wrong = run(tmp_path, "refresh", ONESCHEMA_API_KEY=other.api_key, ONESCHEMA_API_URL=other.url)
        fails(wrong, "Northwind Importers", "Somebody Else", "EMBED_ANALYTICS_HOME")
