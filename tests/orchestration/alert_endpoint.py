"""A Slack-compatible webhook on real HTTP."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class AlertEndpoint:
    """A Slack-compatible webhook: `url` takes messages.

    The texts of those that it took are in `messages`, and their whole JSON in `bodies`. It answers `status`; before
    that each of `answers` once, where 0 breaks off without an answer. `on_taken` is called before it says
    that it took a message.
    """

    url: str
    messages: list[str] = field(default_factory=list[str])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    status: int = 200
    answers: list[int] = field(default_factory=list[int])
    on_taken: Callable[[], None] = lambda: None
    headers: dict[str, str] = field(default_factory=dict[str, str])


@contextmanager
def running_alert_endpoint() -> Generator[AlertEndpoint]:
    """The endpoint at work on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = endpoint.answers.pop(0) if endpoint.answers else endpoint.status
            if status == 0:
                return
            if status == 200:
                endpoint.messages.append(body["text"])
                endpoint.bodies.append(body)
                endpoint.on_taken()
            self.send_response(status)
            for name, value in endpoint.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = AlertEndpoint(f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret-path")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield endpoint
    server.shutdown()
    server.server_close()
    thread.join(10)
