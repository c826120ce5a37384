"""Dagster on a real PostgreSQL, its UI and its daemon as services of their own: `make test-scale`.

One home goes through what a team's does: runs that wait for each other, a backfill from the UI, a daemon that is killed
in the middle of a run, pruning, and a database that goes away.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import Page, sync_playwright
from pydantic import SecretStr

from pipelines.home.layout import Home
from pipelines.orchestration.instance.opening import open_instance
from pipelines.orchestration.instance.pruning import prune_run_history
from pipelines.orchestration.jobs import partition_range
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.published import connect_published
from tests.orchestration.backfilling import PARTITIONS, RUNS, backfill_from_the_asset_page, opened_browser
from tests.orchestration.dev_server import PROGRAM, DevServer, clean_environment, service, webserver
from tests.scale.postgres_server import ENCODED_PASSWORD, PASSWORD, PostgresServer, postgres_server

pytestmark = pytest.mark.scale

DAEMON_IS_UP = "Instance is configured with the following daemons"
DAYS = 6
LAUNCH = """
mutation ($job: String!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "embed_analytics", repositoryName: "__repository__", jobName: $job}
    runConfigData: {}, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } }
}
"""
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status startTime endTime tags { key value } } } }"


@dataclass(frozen=True)
class Team:
    """The simulated vendor, PostgreSQL, a home, and the environment of whoever works on it."""

    simulator: RunningSimulator
    postgres: PostgresServer
    home: Home
    environment: dict[str, str]
    folder: Path

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines", *arguments],
            env=clean_environment() | self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def event_count(self) -> int:
        with connect_published(self.home) as connection:
            ((count,),) = connection.execute("select count(*) from stg_embed_events").fetchall()
        return count

    def logs(self) -> str:
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in self.folder.glob("*.log"))


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    home = Home(tmp_path / "home")
    options = SimulatorOptions(embeds=60, days=DAYS, seed=5, now=None, clock_runs=False)
    with postgres_server() as postgres, running_simulator(options) as simulator:
        environment = {
            "ONESCHEMA_API_KEY": simulator.api_key,
            "ONESCHEMA_API_URL": simulator.url,
            "EMBED_ANALYTICS_HOME": str(home.root),
            "EMBED_ANALYTICS_START_DATE": str(_today() - timedelta(days=DAYS)),
            "EMBED_ANALYTICS_REFRESH_CRON": "0 0 29 2 *",
            "EMBED_ANALYTICS_DAGSTER_DATABASE_URL": postgres.url,
        }
        yield Team(simulator, postgres, home, environment, tmp_path)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright, opened_browser(playwright) as page:
        yield page


def test_a_team_works_on_one_home(team: Team, page: Page) -> None:
    # In a terminal first, as a newcomer would: it makes the tables, too.
    done = team.command("refresh")
    assert done.returncode == 0, done.stderr
    assert not list(team.home.dagster.rglob("*.db")), "nothing of the history is in the home"
    assert team.event_count() == len(team.simulator.truth())
    with webserver(team.environment, team.folder, team.folder / "webserver.log") as server:
        page.goto(f"{server.url}/runs")
        assert [run["status"] for run in server.ask(RUNS)["runsOrError"]["results"]] == ["SUCCESS"]
        with _daemon(team, "first"):
            _three_runs_wait_for_each_other(server, page)
            _backfill(team, server, page)
            another = team.command("daemon")
            assert another.returncode == 1
            assert "already running" in another.stderr
        _a_daemon_is_killed(team, server, page)
        _old_runs_are_pruned(team, server)
    _the_database_goes_away(team)
    assert team.event_count() == len(team.simulator.truth())
    for secret in (PASSWORD, ENCODED_PASSWORD, team.simulator.api_key):
        assert secret not in team.logs()
        assert secret not in (team.home.dagster / "dagster.yaml").read_text(encoding="utf-8")


def _daemon(team: Team, name: str) -> Any:
    return service(
        [*PROGRAM, "daemon"], DAEMON_IS_UP, team.environment, team.folder, team.folder / f"daemon-{name}.log"
    )


def _three_runs_wait_for_each_other(server: DevServer, page: Page) -> None:
    today = _today()
    ids = [_launch(server, "refresh", today) for _ in range(3)]
    runs = sorted((_ended(server, page, run_id) for run_id in ids), key=lambda run: run["startTime"])
    assert [run["status"] for run in runs] == ["SUCCESS"] * 3
    for before, after in pairwise(runs):
        assert before["endTime"] <= after["startTime"], "one run at a time writes to a home"


def _backfill(team: Team, server: DevServer, page: Page) -> None:
    # All that there are: the refreshes have filled some already.
    first, last = _today() - timedelta(days=DAYS), _today()
    runs = backfill_from_the_asset_page(server, page, first, last)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert _filled(server) == [("MATERIALIZED", str(first), str(last))]
    assert team.event_count() == len(team.simulator.truth())


def _a_daemon_is_killed(team: Team, server: DevServer, page: Page) -> None:
    """In the middle of a run. Whatever becomes of that run, the next daemon goes on, and nothing is missing."""
    with _daemon(team, "killed") as daemon:
        # It asks, and is not answered.
        team.simulator.throw(latency_seconds=600)
        run_id = _launch(server, "reconcile", _today())
        server.wait(page, RUN, "data => data.runOrError.status === 'STARTED'", id=run_id)
        # As a service manager or a container does it: with all its children.
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
    team.simulator.throw(latency_seconds=0)
    with _daemon(team, "next"):
        assert _ended(server, page, run_id)["status"] == "FAILURE"
        again = server.wait(
            page,
            RUNS,
            "data => data.runsOrError.results.some(run => run.jobName === 'reconcile' && run.status === 'SUCCESS')",
            seconds=180,
        )
        assert sum(run["jobName"] == "reconcile" for run in again["runsOrError"]["results"]) == 2


def _old_runs_are_pruned(team: Team, server: DevServer) -> None:
    filled = _filled(server)
    with open_instance(team.home, SecretStr(team.postgres.url)) as instance:
        before = instance.get_runs_count()
        report = prune_run_history(instance, datetime.now(UTC), ())
        assert report.deleted_count > 0
        assert instance.get_runs_count() == before - report.deleted_count == report.kept_count
        assert instance.get_materialized_partitions(dg.AssetKey(["lake", "embed_events"]))
    assert _filled(server) == filled


def _the_database_goes_away(team: Team) -> None:
    team.postgres.stop()
    try:
        for command in ("refresh", "status"):
            done = team.command(command)
            assert done.returncode == 1
            assert "EMBED_ANALYTICS_DAGSTER_DATABASE_URL" in done.stderr
            assert str(team.postgres.port) in done.stderr
            assert "Traceback" not in done.stderr
            assert PASSWORD not in done.stderr
            assert ENCODED_PASSWORD not in done.stderr
    finally:
        team.postgres.start()
    done = team.command("refresh")
    assert done.returncode == 0, done.stderr


def _filled(server: DevServer) -> list[tuple[str, str, str]]:
    node = server.ask(PARTITIONS, path=["lake", "embed_events"])["assetNodeOrError"]
    return [(each["status"], each["startKey"], each["endKey"]) for each in node["assetPartitionStatuses"]["ranges"]]


def _launch(server: DevServer, job: str, day: date) -> str:
    tags = [{"key": key, "value": value} for key, value in partition_range(day, day).items()]
    answer = server.ask(LAUNCH, job=job, tags=tags)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def _ended(server: DevServer, page: Page, run_id: str) -> dict[str, Any]:
    holds = "data => ['SUCCESS', 'FAILURE', 'CANCELED'].includes(data.runOrError.status)"
    return server.wait(page, RUN, holds, seconds=240, id=run_id)["runOrError"]


def _today() -> date:
    return datetime.now(UTC).date()
