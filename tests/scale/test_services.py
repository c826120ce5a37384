"""What compose.yaml starts, started here with its environment, behind nginx as nginx.conf has it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from pipelines.home.layout import Home
from pipelines.orchestration.jobs import partition_range
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.orchestration.dev_server import PROGRAM, SERVES, clean_environment, free_port, service
from tests.scale.documented import FOLDER, ROOT, replaced
from tests.scale.postgres_server import ENCODED_PASSWORD, PostgresServer, postgres_server
from tests.scale.proxy import DASHBOARD, EVENTS, PASSWORD, USER, Proxy, proxy
from tests.scale.test_postgres import DAEMON_IS_UP, LAUNCH
from tests.webhooks.receiving import SECRET, basic

pytestmark = pytest.mark.scale

SAMPLE = (ROOT / "tests" / "simulator" / "fixtures" / "webhook_event.json").read_bytes()
IS_UP = {"webserver": SERVES, "daemon": DAEMON_IS_UP, "receiver": "webhook receiver listening on "}
PORTS = {"webserver": "3000", "receiver": "8788", "postgres": "5432"}

SUBSCRIPTION = """
subscription ($id: ID!) { pipelineRunLogs(runId: $id) {
  ... on PipelineRunLogsSubscriptionSuccess { messages { __typename } }
} }
"""
TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename ... on PythonError { message } } }"


@dataclass(frozen=True)
class Services:
    """compose.yaml as docker-compose reads it, its services at work here, and nginx before them."""

    composed: dict[str, Any]
    ports: dict[str, int]
    home: Home
    simulator: RunningSimulator
    postgres: PostgresServer
    proxy: Proxy
    processes: dict[str, subprocess.Popen[str]]

    def environment(self, name: str) -> dict[str, str]:
        return self._here(self.composed[name]["environment"])

    def command(self, name: str) -> list[str]:
        """The arguments of `embed-analytics`."""
        program, *arguments = self.composed[name]["command"]
        assert program == "embed-analytics"
        return [*arguments, *(["--port", str(self.ports[name])] if name in self.ports else [])]

    def start(self, name: str, is_up: str, folder: Path) -> AbstractContextManager[subprocess.Popen[str]]:
        command = [*PROGRAM, *self.command(name)]
        return service(command, is_up, self.environment(name), folder, folder / f"{name}.log")

    def is_healthy(self, name: str) -> bool:
        """What the health check of a service says."""
        kind, *command = self.composed[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if name == "postgres":
            command += ["--port", str(self.ports[name])]
        elif name in self.ports:
            command = [
                replaced(each, {PORTS[name]: str(self.ports[name])}) if "://" in each else each for each in command
            ]
        path = f"{Path(sys.executable).parent}:{self.postgres.programs}:{os.environ['PATH']}"
        environment = clean_environment() | self.environment(name) | {"PATH": path}
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60).returncode == 0

    def dashboard(self, **headers: str) -> httpx.Client:
        """A browser's requests to the UI, through nginx."""
        return httpx.Client(base_url=self.proxy.url, verify=False, headers={"Host": DASHBOARD, **headers}, timeout=60)

    def websocket(self, **headers: str) -> ClientConnection:
        return connect(
            f"wss://{DASHBOARD}/graphql",
            address=("127.0.0.1", self.proxy.port),
            ssl=self.proxy.trust,
            subprotocols=[Subprotocol("graphql-ws")],
            additional_headers=headers,
            proxy=None,
        )

    def _here(self, environment: dict[str, str | None]) -> dict[str, str]:
        address = f"@127.0.0.1:{self.ports['postgres']}/"
        found = {name: value or "" for name, value in environment.items()}
        return {
            name: value.replace("@postgres:5432/", address).replace("/data", str(self.home.root))
            for name, value in found.items()
        }


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("services")
    options = SimulatorOptions(embeds=20, days=3, seed=5, now=None, clock_runs=False)
    with ExitStack() as stack:
        simulator = stack.enter_context(running_simulator(options))
        postgres = stack.enter_context(postgres_server())
        composed = _composed(folder, simulator)
        ports = {"webserver": free_port(), "receiver": free_port(), "postgres": postgres.port}
        front = stack.enter_context(proxy(folder / "nginx", free_port(), ports["webserver"], ports["receiver"]))
        running = Services(composed, ports, Home(folder / "home"), simulator, postgres, front, {})
        # All at once, as compose and systemd start them. The home and the database are new.
        with ThreadPoolExecutor(len(IS_UP)) as pool:
            starting = {
                name: pool.submit(stack.enter_context, running.start(name, is_up, folder))
                for name, is_up in IS_UP.items()
            }
            running.processes.update({name: future.result() for name, future in starting.items()})
        yield running


def _composed(folder: Path, simulator: RunningSimulator) -> dict[str, Any]:
    """The services of compose.yaml, as docker-compose reads them, with the settings of embed-analytics.env."""
    others = {
        "ONESCHEMA_API_KEY=...": f"ONESCHEMA_API_KEY={simulator.api_key}\nONESCHEMA_API_URL={simulator.url}",
        "EMBED_ANALYTICS_WEBHOOK_SECRETS=...": f"EMBED_ANALYTICS_WEBHOOK_SECRETS={SECRET}\n"
        "EMBED_ANALYTICS_REFRESH_CRON=0 0 29 2 *\nEMBED_ANALYTICS_RECONCILE_CRON=0 0 29 2 *",
    }
    settings = folder / "settings.env"
    settings.write_text(replaced((FOLDER / "embed-analytics.env").read_text("utf-8"), others), "utf-8")
    done = subprocess.run(
        ["docker-compose", "--file", str(FOLDER / "compose.yaml"), "config"],
        env=clean_environment() | {"SETTINGS": str(settings), "POSTGRES_PASSWORD": ENCODED_PASSWORD},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return yaml.safe_load(done.stdout)["services"]


ENDS = ("RunSuccessEvent", "RunCanceledEvent", "RunFailureEvent")
LOGIN = httpx.BasicAuth(USER, PASSWORD)
HEADER = basic(PASSWORD, USER)


def test_the_services_are_healthy_and_private(services: Services) -> None:
    # More than once, as compose asks: the UI says that it serves before it listens, and a thread of the daemon counts
    # only from its first round on.
    for name in services.composed:
        assert any(services.is_healthy(name) for _ in range(20)), name
    assert services.composed.keys() == {"postgres", *IS_UP}
    for name, about in services.composed.items():
        assert "/" not in about["image"], "no registry is named"
        for port in about.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), "open to this machine alone"
        if name != "postgres":
            assert about["volumes"] == ["home:/data:rw", "sockets:/tmp:rw"]
            assert about["cap_drop"] == ["ALL"]


def test_nobody_reaches_the_ui_without_a_login(services: Services) -> None:
    with services.dashboard() as browser:
        assert browser.get("/runs").status_code == 401
        assert browser.post("/graphql", json={"query": "{ version }"}).status_code == 401
        assert browser.get("/runs", auth=httpx.BasicAuth(USER, "another")).status_code == 401
        assert "dagster" in browser.get("/runs", auth=LOGIN).raise_for_status().text.lower()
        answer = browser.post("/graphql", json={"query": "{ version }"}, auth=LOGIN)
        assert answer.raise_for_status().json()["data"]["version"]
    with pytest.raises(InvalidStatus) as refused:
        services.websocket()
    assert refused.value.response.status_code == 401


def test_no_other_site_reaches_the_ui_with_the_browsers_login(services: Services) -> None:
    with services.dashboard(Origin="https://elsewhere.example.com") as browser:
        assert browser.post("/graphql", data={"query": "{ version }"}, auth=LOGIN).status_code == 403
    with services.dashboard(Origin=f"https://{DASHBOARD}") as browser:
        assert browser.post("/graphql", json={"query": "{ version }"}, auth=LOGIN).status_code == 200
    with pytest.raises(InvalidStatus) as refused:
        services.websocket(Authorization=HEADER, Origin="https://elsewhere.example.com")
    assert refused.value.response.status_code == 403


def test_a_run_is_followed_and_stopped_through_the_proxy(services: Services) -> None:
    """The daemon runs it, and the UI, another process, stops it."""
    services.simulator.throw(latency_seconds=600)
    with services.dashboard() as browser, services.websocket(Authorization=HEADER) as socket:
        run_id = _launch(browser)
        events = _events(socket, run_id)
        assert "RunStartEvent" in events
        stopped = _ask(browser, TERMINATE, id=run_id)["terminateRun"]
        assert stopped["__typename"] == "TerminateRunSuccess", stopped
        services.simulator.throw(latency_seconds=0)
        assert next(event for event in events if event in ENDS) == "RunCanceledEvent"


def test_an_event_comes_in_through_the_proxy(services: Services) -> None:
    with httpx.Client(base_url=services.proxy.url, verify=False, headers={"Host": EVENTS}) as vendor:
        assert vendor.post("/events", content=SAMPLE).status_code == 401
        assert vendor.post("/events", content=SAMPLE, headers={"Authorization": basic()}).status_code == 200
        assert vendor.get("/metrics").status_code == 404
        assert list(services.home.webhook_journal.glob("*.journal"))
        # When the receiver is away, the vendor is told to send the event again.
        receiver = services.processes["receiver"]
        receiver.terminate()
        assert receiver.wait(30) == 0
        answer = vendor.post("/events", content=SAMPLE, headers={"Authorization": basic()})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert not services.is_healthy("receiver")


def test_a_service_manager_ends_them(services: Services) -> None:
    """With SIGTERM, while a run is under way. What the daemon leaves, the unit's KillMode or the container ends."""
    services.simulator.throw(latency_seconds=600)
    with services.dashboard() as browser, services.websocket(Authorization=HEADER) as socket:
        assert "RunStartEvent" in _events(socket, _launch(browser))
    for name in ("daemon", "webserver"):
        process = services.processes[name]
        process.terminate()
        assert process.wait(25) in (0, -15), name


def _launch(browser: httpx.Client) -> str:
    today = datetime.now(UTC).date()
    tags = [{"key": key, "value": value} for key, value in partition_range(today, today).items()]
    answer = _ask(browser, LAUNCH, job="reconcile", tags=tags)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def _ask(browser: httpx.Client, query: str, **variables: Any) -> dict[str, Any]:
    answer = browser.post("/graphql", json={"query": query, "variables": variables}, auth=LOGIN)
    content = answer.raise_for_status().json()
    assert "errors" not in content, content["errors"]
    return content["data"]


def _events(socket: ClientConnection, run_id: str) -> Iterator[str]:
    """The kinds of a run's events, as they come over the UI's websocket."""
    socket.send(json.dumps({"type": "connection_init", "payload": {}}))
    start = {"query": SUBSCRIPTION, "variables": {"id": run_id}}
    socket.send(json.dumps({"id": "1", "type": "start", "payload": start}))
    while True:
        message = json.loads(socket.recv(120))
        if message["type"] == "data":
            for event in message["payload"]["data"]["pipelineRunLogs"]["messages"]:
                yield event["__typename"]
