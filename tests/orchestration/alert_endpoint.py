"""A Slack-compatible webhook on real HTTP."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class AlertEndpoint:
    """A Slack-compatible webhook: `url` takes messages, which are kept in `messages`; `status` is what it answers."""

    url: str
    messages: list[str] = field(default_factory=list[str])
    status: int = 200


@contextmanager
def running_alert_endpoint() -> Generator[AlertEndpoint]:
    """The endpoint at work on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if endpoint.status == 200:
                endpoint.messages.append(json.loads(body)["text"])
            self.send_response(endpoint.status)
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
