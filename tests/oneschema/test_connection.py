"""Where requests may go: over TLS that is checked, through the proxy that the environment names, or not at all."""

import asyncio
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipelines.errors import ConfigurationError, HostUnreachableError
from pipelines.oneschema.client import Connection, RetryPolicy, open_client
from pipelines.oneschema.pace import Pace, retry_after_seconds
from pipelines.oneschema.proxies import proxy_for

KEY = "osk_connection_test_77d1"
PROXY = "http://proxy.example:3128"
# A certificate of its own making, for another host.
STRANGER = Path(__file__).parent / "fixtures" / "stranger.pem"


def connection(url: str, *, allows_plain_http: bool = False) -> Connection:
    once = RetryPolicy(attempts=1)
    return Connection(url, SecretStr(KEY), 5, Pace(), once, allows_plain_http=allows_plain_http)


@contextmanager
def stranger() -> Generator[tuple[str, list[str | None]]]:
    """host:port of a TLS server that nobody vouches for, and the keys that it was shown."""
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("X-API-KEY"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"org": "Stranger"}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(STRANGER)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_a_stranger_is_never_shown_the_key(scheme: str) -> None:
    async def ask(url: str) -> None:
        async with open_client(connection(url)) as client:
            await client.whoami()

    with stranger() as (address, shown):
        with pytest.raises(HostUnreachableError):
            asyncio.run(ask(f"{scheme}://{address}"))
        # The server works: who does not check is answered.
        httpx.get(f"https://{address}/whoami", verify=False, headers={"X-API-KEY": "of the test"}).raise_for_status()
        assert shown == ["of the test"]


@pytest.mark.parametrize(
    "url", ["http://api.example", "HTTP://10.0.0.7:8080", "http://[fd00::1]/", "http://127.0.0.1.example"]
)
def test_plain_http_leaves_this_machine_only_when_it_is_allowed(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ONESCHEMA_ALLOW_PLAIN_HTTP") as raised:
        connection(url)
    assert KEY not in str(raised.value)
    assert connection(url, allows_plain_http=True).tls is False


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8787", "http://localhost", "http://[::1]:9", "http://127.9.9.9", "http://a.localhost"]
)
def test_plain_http_on_this_machine_needs_nothing(url: str) -> None:
    assert connection(url).tls is False


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_direct"),
    [
        ("https://api.example", "", False),
        ("https://api.example", "api.example", True),
        ("https://api.example", ".example", True),
        ("https://api.example", "*", True),
        ("https://api.example", "::1/128,fd00::/8,10.0.0.0/8", False),
        ("https://[fd00::5]", "localhost,127.0.0.0/8,::1/128,fd00::/8", True),
        ("https://[fe80::5]", "fd00::/8", False),
        ("https://[::1]:8443", "::1", True),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.1.2.3/33,nonsense/8,[", False),
        ("http://127.0.0.1:8787", "127.0.0.0/8", True),
    ],
)
def test_which_hosts_no_proxy_excepts(
    url: str, no_proxy: str, *, is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(httpx.URL(url)) == (None if is_direct else PROXY)

    async def opens() -> None:
        async with open_client(connection(url)):
            pass

    asyncio.run(opens())


def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"org": "Behind"}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    async def ask() -> str:
        # No such host: only the proxy can answer for it.
        async with open_client(connection("http://api.invalid", allows_plain_http=True)) as client:
            return (await client.whoami()).organisation

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        for name in ("http_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
        assert asyncio.run(ask()) == "Behind"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked == ["http://api.invalid/whoami"]


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,40} Nov \d{1,30} \d{1,30}:\d\d:\d\d (GMT|[+-]\d{1,20})", fullmatch=True)
)
def test_no_retry_after_is_too_odd(header: str) -> None:
    seconds = retry_after_seconds(header)
    assert seconds is None or 0 <= seconds <= 120
