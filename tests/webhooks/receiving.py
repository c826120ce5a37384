"""A receiver at work, in this process or in one of its own, and what it left."""

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from pydantic import SecretStr

from pipelines.home.layout import Home
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.opening import open_state
from pipelines.settings import Settings
from pipelines.simulator.simulation import Simulation
from pipelines.webhooks.ingest import IngestReport, ingest_journal
from pipelines.webhooks.server import ReceiverServer, ServeOptions, listen
from tests.poll.sweeping import raw_events

SECRET = "webhook-secret-5b1c7e"


def basic(secret: str = SECRET, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def settings_of(home: Path, **changes: Any) -> Settings:
    """Settings of a home that receives webhooks, whatever the environment says."""
    receiver = {"embed_analytics_home": home, "embed_analytics_webhook_secrets": (SecretStr(SECRET),)}
    return Settings.defaults(**{**receiver, **changes})


@dataclass(frozen=True)
class RunningReceiver:
    """A receiver in a thread of this process."""

    url: str
    client: httpx.Client
    server: ReceiverServer

    def push(self, body: bytes, **headers: str) -> httpx.Response:
        return self.client.post("/events", content=body, headers={"authorization": basic(), **headers})

    def connect(self) -> socket.socket:
        """A bare connection, which fails rather than wait for ever."""
        address = httpx.URL(self.url)
        return socket.create_connection((address.host, address.port), timeout=20)

    def metric(self, name: str, **labels: str) -> float:
        return self.server.metrics.registry.get_sample_value(f"embed_analytics_webhook_{name}", labels) or 0.0


@contextmanager
def running_receiver(home: Path, **options: Any) -> Generator[RunningReceiver]:
    """A receiver on a free port while the context lasts; `options` are fields of ServeOptions, `settings` too."""
    settings = options.pop("settings", None) or settings_of(home)
    serve_options = ServeOptions(settings, port=0, **options)
    server = ReceiverServer(serve_options)
    listener = listen(serve_options)
    url = "http://{}:{}".format(*listener.getsockname()[:2])
    thread = threading.Thread(target=server.run, args=([listener],), name="receiver", daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield RunningReceiver(url, client, server)
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive(), "the receiver did not stop"


class ReceiverProcess:
    """`embed-analytics serve-webhooks` in a process of its own."""

    def __init__(self, home: Path, folder: Path, *arguments: str, **environment: str) -> None:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("ONESCHEMA_", "EMBED_ANALYTICS_"))
        }
        self.log = folder / "receiver.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines", "serve-webhooks", "--port", "0", *arguments],
                cwd=Path(__file__).parents[2],
                env={
                    **kept,
                    "EMBED_ANALYTICS_HOME": str(home),
                    "EMBED_ANALYTICS_WEBHOOK_SECRETS": SECRET,
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        self.first_line = self.process.stdout.readline()
        assert self.first_line.startswith("webhook receiver listening on "), self.log.read_text()
        self.url = self.first_line.split()[-1]

    def end(self, signal_number: int) -> int:
        self.process.send_signal(signal_number)
        assert self.process.stdout
        with self.process.stdout:
            return self.process.wait(30)

    def __enter__(self) -> "ReceiverProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do; the minute is for a machine that is busy."""
    changed = threading.Event()
    for _ in range(60_000):
        if is_so():
            return
        changed.wait(0.001)
    raise AssertionError("it did not come")


def full_events(simulation: Simulation) -> Iterator[bytes]:
    """The webhook's payload of every event of a simulated account up to its clock."""
    for index in range(len(simulation.world.ids)):
        for event in simulation.world.events(index):
            if event.created_at <= simulation.clock.now():
                yield simulation.full_json(event)


def ingest(home: Path, settings: Settings | None = None) -> IngestReport:
    """What a sweep does with the journal before it polls."""
    settings = settings or settings_of(home)
    tokens = TokenReader.from_settings(settings)
    with open_state(Home(home)) as state:
        return ingest_journal(
            Home(home), state.connection, tokens, settings.oneschema_environment, state.embed_token_fingerprint
        )


def landed_uuids(home: Path) -> list[str]:
    """The uuids in raw, one per row."""
    return raw_events(home)["event_uuid"].to_list()


def journal_files(home: Path) -> list[Path]:
    return sorted((home / "webhooks").iterdir())


def lake_table(home: Path, table: str) -> pl.DataFrame:
    """A whole lake table, without the column that says when an event landed."""
    files = sorted((home / "lake" / table).glob("*/*.parquet"))
    frame = pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files], how="diagonal")
    frame = frame.drop("landed_at", strict=False)
    return frame.select(sorted(frame.columns)).sort(pl.all())
