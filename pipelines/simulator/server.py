"""Runs the simulator as a real HTTP server: in a thread for tests, or in the foreground for the command line."""

import asyncio
import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import typer
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.errors import ConfigurationError, HostUnreachableError
from pipelines.simulator.gate import ADMIN_PREFIX, TRANSPORT
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.simulator.vendor_api import create_app


@dataclass(frozen=True)
class RunningSimulator:
    """A running simulator. `admin` calls its admin endpoints by relative path; `simulation` is the same in process."""

    url: str
    admin: httpx.Client
    simulation: Simulation

    @property
    def api_key(self) -> str:
        return self.simulation.options.api_key.get_secret_value()

    def advance(self, seconds: float) -> None:
        """Moves the clock."""
        self.simulation.clock.advance(seconds)

    def throw(self, **switches: object) -> None:
        """Changes switches: fields of `Switches`; `faults` may be a text as `--faults` takes."""
        self.simulation.throw(switches)

    def truth(self, embed_id: int | None = None) -> list[dict[str, Any]]:
        """`Truth.events`, read over HTTP."""
        return self._json_lines("truth", {} if embed_id is None else {"embed_id": embed_id})

    def truth_embeds(self) -> list[dict[str, Any]]:
        """`Truth.embeds`, read over HTTP."""
        return self._json_lines("truth/embeds", {})

    def _json_lines(self, path: str, params: dict[str, int]) -> list[dict[str, Any]]:
        # Read by the standard library: a planted event may have numbers and surrogates that orjson refuses.
        answer = self.admin.get(path, params=params).raise_for_status()
        return [json.loads(line) for line in answer.content.splitlines()]


@contextmanager
def running_simulator(options: SimulatorOptions | None = None) -> Generator[RunningSimulator]:
    """A simulator on its own thread, reachable by real HTTP while the context lasts.

    Raises ConfigurationError when the port cannot be used.
    """
    options = options or SimulatorOptions()
    simulation = Simulation(options)
    listener = _listen(options)
    server = _Server(simulation)
    thread = threading.Thread(target=server.run, args=([listener],), name="simulator", daemon=True)
    thread.start()
    try:
        if not server.is_up.wait(30):
            raise HostUnreachableError("The simulator did not start within 30 s.")
        url = _url(listener)
        with httpx.Client(base_url=f"{url}{ADMIN_PREFIX}/", timeout=120, trust_env=False) as admin:
            yield RunningSimulator(url=url, admin=admin, simulation=simulation)
    finally:
        server.should_exit = True
        thread.join(30)
    if thread.is_alive():
        raise HostUnreachableError("The simulator did not stop within 30 s.")


def serve(options: SimulatorOptions) -> None:
    """Runs the simulator until SIGINT or SIGTERM. Its first line of output gives the address.

    Raises ConfigurationError when the port cannot be used, and KeyboardInterrupt after a stop by SIGINT.
    """
    listener = _listen(options)
    server = _Server(Simulation(options))
    url = _url(listener)
    # The socket is already listening, so a client that connects as soon as it reads this line is not refused.
    typer.echo(f"simulator listening on {url}")
    typer.echo(f"API key: {options.api_key.get_secret_value()}")
    typer.echo(f"admin: {url}{ADMIN_PREFIX}/")
    server.run([listener])


class _Server(uvicorn.Server):
    """A uvicorn server that tells when it is up, and when it stops ends requests that hang on purpose."""

    def __init__(self, simulation: Simulation) -> None:
        self.is_up = threading.Event()
        self._stopping = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                create_app(simulation, self._stopping),
                http=_Protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=120,
                timeout_graceful_shutdown=10,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


class _Protocol(HttpToolsProtocol):
    """Hands each request its connection's transport, so that a fault can close it (see gate.py)."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]


def _listen(options: SimulatorOptions) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off. Otherwise an answer's body waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"The simulator cannot listen on {options.host}:{options.port}: {error.strerror}. Choose another --port; "
            "0 takes a free one."
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"
