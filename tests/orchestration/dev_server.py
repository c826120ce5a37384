"""Dagster's processes as our commands start them, and the questions that a test asks of its GraphQL."""

import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page

START_SECONDS = 120
SERVES = "Serving dagster-webserver on"
PROGRAM = (sys.executable, "-m", "pipelines")

# Asks twice a second until HOLDS, a JavaScript function of the answer's data, is true, or time is over.
WAIT = """async ([query, variables, seconds]) => {
    const end = Date.now() + 1000 * seconds;
    while (Date.now() < end) {
        const answer = await fetch('/graphql', {
            method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({query, variables}),
        });
        const data = (await answer.json()).data;
        if ((HOLDS)(data)) return data;
        await new Promise(resolve => setTimeout(resolve, 500));
    }
    return null;
}"""


@dataclass(frozen=True)
class DevServer:
    """A running `make dev`."""

    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that GraphQL answers."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        content = answer.raise_for_status().json()
        assert "errors" not in content, content["errors"]
        return content["data"]

    def wait(self, page: Page, query: str, holds: str, *, seconds: float = 120, **variables: Any) -> dict[str, Any]:
        """The data that GraphQL answers once the JavaScript function `holds` is true of it. `page` must be open."""
        data = page.evaluate(WAIT.replace("HOLDS", holds), [query, variables, seconds])
        assert data is not None, f"After {seconds} s it does not hold that {holds}: {self.ask(query, **variables)}"
        return data


def webserver(environment: dict[str, str], folder: Path, log: Path) -> AbstractContextManager[DevServer]:
    """`embed-analytics webserver` in the same way as `dev_server`."""
    return dev_server(environment, folder, log, (*PROGRAM, "webserver"))


@contextmanager
def dev_server(
    environment: dict[str, str], folder: Path, log: Path, command: Sequence[str] = (*PROGRAM, "dev")
) -> Generator[DevServer]:
    """`embed-analytics dev` in a folder, on a free port, ready to serve; the whole of it is stopped in the end."""
    port = free_port()
    with service([*command, "--port", str(port)], SERVES, environment, folder, log):
        server = DevServer(f"http://127.0.0.1:{port}")
        # It says so shortly before it listens.
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            client.get(f"{server.url}/server_info").raise_for_status()
        yield server


@contextmanager
def service(
    command: Sequence[str], is_up_when: str, environment: dict[str, str], folder: Path, log: Path
) -> Generator[subprocess.Popen[str]]:
    """A command of ours as a process in a session of its own, from the line that says that it is up."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**clean_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A session of its own, so that its children can be stopped with it.
        start_new_session=True,
    )
    is_up: queue.Queue[bool] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, log, is_up_when, is_up), daemon=True)
    reader.start()
    try:
        try:
            has_started = is_up.get(timeout=START_SECONDS)
        except queue.Empty:
            has_started = False
        assert has_started, f"{shlex.join(command)} did not start:\n{log.read_text(encoding='utf-8')[-4000:]}"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(10)


def _read(process: subprocess.Popen[str], log: Path, is_up_when: str, is_up: "queue.Queue[bool]") -> None:
    assert process.stdout is not None
    with log.open("w", encoding="utf-8") as file, process.stdout:
        for line in process.stdout:
            file.write(line)
            file.flush()
            if is_up_when in line:
                is_up.put(True)
    is_up.put(False)


def clean_environment() -> dict[str, str]:
    ours = ("ONESCHEMA_", "EMBED_ANALYTICS_", "DAGSTER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
