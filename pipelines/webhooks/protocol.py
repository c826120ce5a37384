"""uvicorn's HTTP with limits.

A request that does not arrive whole in time, or is larger than anything this server reads, loses its connection. With
too many connections, the slowest ones are closed. Other clients do not wait for them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.webhooks.metrics import Metrics

# Most bytes of headers, beyond those of the first read.
MAX_HEAD_BYTES = 64 * 1024
# A request that was answered before its end is still read, but no further than this.
MAX_REQUEST_BYTES = 8 * 1024 * 1024
MAX_PIPELINED = 100
# Younger requests may still be on their way, so they do not count as slow.
SLOW_SECONDS = 1.0

_CLOSE = "content-length: 0\r\nconnection: close\r\n\r\n"
_TIMED_OUT = f"HTTP/1.1 408 Request Timeout\r\n{_CLOSE}".encode()
_TOO_MANY = f"HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\n{_CLOSE}".encode()
_HEAD_TOO_LARGE = f"HTTP/1.1 431 Request Header Fields Too Large\r\n{_CLOSE}".encode()


@dataclass(frozen=True)
class Patience:
    """How many connections are allowed, and how long a request may take to arrive."""

    max_connections: int = 2000
    request_seconds: float = 10.0


class ReceiverProtocol(HttpToolsProtocol):
    """One connection."""

    patience: ClassVar[Patience]
    metrics: ClassVar[Metrics]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The time since when the client has owed its first byte, or the rest of a request.
        self._owes_since: float | None = None
        self._is_in_head = True
        self._is_first_read = True
        self._later_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._owes_since = self.loop.time()
        if len(self.connections) > self.patience.max_connections and not self._make_room():
            self.metrics.rejected["overloaded"].inc()
            self._end(_TOO_MANY)

    def data_received(self, data: bytes) -> None:
        if self._owes_since is None:
            self._owes_since = self.loop.time()
        self._is_first_read = False
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if len(self.pipeline) > MAX_PIPELINED:
            self._end()
        elif self._is_owing and not self._is_first_read:
            self._later_bytes += len(data)
            if self._is_in_head and self._later_bytes > MAX_HEAD_BYTES:
                self.metrics.rejected["too_large"].inc()
                self._end(_HEAD_TOO_LARGE)
            elif self._later_bytes > MAX_REQUEST_BYTES:
                self._end()

    def _feed(self, data: bytes) -> None:
        """Parse the data. If a request also asks for another protocol (`Upgrade`), the parser stops after the head and
        never reads the body. Such a request is an event like any other, so it is parsed again without that header."""
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                if self.parser.get_method() == b"CONNECT":
                    # This is an upgrade whatever its headers say.
                    self.send_400_response("Invalid HTTP request received.")
                    return
                lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
                version = self.parser.get_http_version().encode()
                head = b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(lines))
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)
            else:
                return

    def _should_upgrade(self) -> bool:
        # This keeps uvicorn from answering the request before it is parsed again.
        return True

    def send_400_response(self, msg: str) -> None:
        self.metrics.rejected["malformed"].inc()
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._owes_since is None:
            self._owes_since = self.loop.time()
        self._is_in_head = True
        self._is_first_read = True
        self._later_bytes = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._is_in_head = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._owes_since = None

    def reap(self, now: float) -> None:
        """End the connection if its client has owed the rest of a request for too long."""
        if self._owes_since is None or now - self._owes_since < self.patience.request_seconds:
            return
        if self.transport.is_closing():
            self.transport.abort()
            return
        self.metrics.rejected["timeout"].inc()
        # Send a 408 only if the client cannot take it for the answer to an earlier request.
        is_unanswered = not self._is_answering or (self.cycle.more_body and not self.cycle.response_started)
        self._end(_TIMED_OUT if is_unanswered else b"")

    @property
    def _is_owing(self) -> bool:
        return self._owes_since is not None

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _make_room(self) -> bool:
        """Close the connection of the slowest request, or else an idle one."""
        others = [other for other in self.connections if isinstance(other, ReceiverProtocol) and other is not self]
        slow_before = self.loop.time() - SLOW_SECONDS
        slow = [other for other in others if other._owes_since is not None and other._owes_since < slow_before]
        idle = [other for other in others if other._owes_since is None and not other._is_answering]
        if slow:
            self.metrics.rejected["timeout"].inc()
            min(slow, key=lambda other: other._owes_since or 0)._end(_TIMED_OUT)
        elif idle:
            idle[0]._end()
        return bool(slow or idle)

    def _end(self, answer: bytes = b"") -> None:
        if not self.transport.is_closing():
            if answer:
                self.transport.write(answer)
            self.transport.close()
