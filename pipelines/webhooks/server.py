"""Runs the receiver: one process. After SIGTERM or SIGINT it ends with everything that it accepted on disk."""

import asyncio
import ipaddress
import resource
import signal
import socket
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import typer
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.errors import ConfigurationError, JournalEndedError
from pipelines.home.files import make_folder
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home
from pipelines.oneschema.tokens import TokenReader
from pipelines.settings import Settings
from pipelines.webhooks.journal import Journal, JournalLimits
from pipelines.webhooks.metrics import Metrics
from pipelines.webhooks.protocol import Patience, ReceiverProtocol
from pipelines.webhooks.receiver import create_app
from pipelines.webhooks.secret_keys import SecretKeys
from pipelines.webhooks.segments import write_probe

STOP_SECONDS = 10
# Open files that are not connections.
OTHER_FILES = 100


@dataclass(frozen=True)
class ServeOptions:
    """Where to listen, with which settings, and how much load to accept. Port 0 takes a free port.

    `is_open` means that no secret is required. Beyond loopback that needs `is_behind_authenticating_proxy`.
    """

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8788
    is_open: bool = False
    is_behind_authenticating_proxy: bool = False
    limits: JournalLimits = field(default_factory=JournalLimits)
    patience: Patience = field(default_factory=Patience)


def serve(options: ServeOptions) -> None:
    """Receive until SIGTERM or SIGINT. The first line of output gives the address.

    Raises ConfigurationError when there is no secret, when it would be open to the network, or when the port or the
    journal's folder cannot be used. Raises JournalEndedError when nothing more can be stored, and KeyboardInterrupt
    after a stop by SIGINT.
    """
    server = ReceiverServer(options)
    listener = listen(options)
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        server.handle_exit(number, frame)

    # uvicorn stops gracefully on either signal and raises it again when done. This handler is for a signal before that.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # The socket is already listening, so a client that connects as soon as it reads this line is not refused.
    typer.echo(f"webhook receiver listening on http://{host}:{port}")
    server.run([listener])
    if not server.journal.is_sound:
        raise JournalEndedError("The journal's writer stopped because of an internal error: start the receiver again.")
    if signal.SIGINT in received:
        raise KeyboardInterrupt


def listen(options: ServeOptions) -> socket.socket:
    """A listening socket. Raises ConfigurationError when the address cannot be used."""
    family, kind, protocol, address = _address(options)
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(options, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise _cannot_listen(options, error) from None
    return listener


def _address(options: ServeOptions) -> tuple[int, int, int, tuple[Any, ...]]:
    """Family, kind, protocol and address to listen on. Raises ConfigurationError for an unknown host."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise _cannot_listen(options, error) from None
    return family, kind, protocol, address


def _require_closed(options: ServeOptions) -> None:
    if options.is_behind_authenticating_proxy and not options.is_open:
        raise ConfigurationError(
            "--behind-authenticating-proxy needs --no-auth: it has no effect on a receiver that checks secrets."
        )
    if not options.is_open or options.is_behind_authenticating_proxy:
        return
    *_, address = _address(options)
    # An IPv6 address may name its interface after a percent sign.
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise ConfigurationError(
            f"--no-auth on {options.host} would accept events from anybody on the network: set "
            "EMBED_ANALYTICS_WEBHOOK_SECRETS, or listen on 127.0.0.1. If only an authenticating proxy can reach this "
            "address, say so with --behind-authenticating-proxy."
        )


def _cannot_listen(options: ServeOptions, error: Exception) -> ConfigurationError:
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigurationError(
        f"The receiver cannot listen on {options.host}:{options.port}: {reason}. Choose another --host or --port."
    )


class ReceiverServer(uvicorn.Server):
    """A uvicorn server with its journal. The journal starts before the first request and ends after the last answer."""

    def __init__(self, options: ServeOptions) -> None:
        settings = options.settings
        secrets = SecretKeys(settings.embed_analytics_webhook_secrets, is_open=options.is_open)
        _require_closed(options)
        tokens = TokenReader.from_settings(settings)
        self.metrics = Metrics()
        self.journal = Journal(settings.home.webhook_journal, options.limits, self.metrics.committed, tokens.flush_keys)
        self.metrics.watch(self.journal)
        _require_writable(settings.home)
        # Keys that cannot be used are said now, rather than to each sender.
        tokens.open_keys()
        self._patience = _within_open_files(options.patience)
        super().__init__(
            uvicorn.Config(
                create_app(self.journal, secrets, tokens, self.metrics),
                http=_protocol(self._patience, self.metrics),
                ws="none",
                lifespan="off",
                log_config=None,
                # A stranger's request is not worth a log line. It is answered and counted.
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.journal.start()
        self._reaping = asyncio.create_task(self._reap())
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._reaping.cancel()
        await self.journal.close()

    async def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._patience.request_seconds / 10)
            for connection in list(self.server_state.connections):
                if isinstance(connection, ReceiverProtocol):
                    connection.reap(loop.time())
            # With a dead journal this process could only refuse events. It ends, and a supervisor starts it again.
            self.should_exit = self.should_exit or not self.journal.is_sound


def _protocol(patience: Patience, metrics: Metrics) -> type[HttpToolsProtocol]:
    """The receiver's protocol class. uvicorn makes one instance per connection."""
    return type("Connection", (ReceiverProtocol,), {"patience": patience, "metrics": metrics})


def _within_open_files(patience: Patience) -> Patience:
    """`patience` with no more connections than the limit on open files allows. Raises that limit as far as possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = patience.max_connections + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return Patience(min(patience.max_connections, max(soft - OTHER_FILES, 1)), patience.request_seconds)


def _require_writable(home: Home) -> None:
    folder = home.webhook_journal
    try:
        open_home(home)
        make_folder(folder)
        write_probe(folder)
    except OSError as error:
        raise ConfigurationError(f"The journal's folder {folder} cannot be written to: {error.strerror}.") from None
