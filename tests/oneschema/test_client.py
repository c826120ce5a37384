"""The client on a transport of its own: what is tried again, what is not, and how it says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pipelines.errors import ConfigurationError, EmbedAnalyticsError, SourceError
from pipelines.oneschema.client import (
    Connection,
    EmbedGoneError,
    EmbedRefusedError,
    OneSchemaClient,
    RequestRejectedError,
    RetryPolicy,
    open_client,
)
from pipelines.oneschema.pace import Pace
from pipelines.settings import Settings

URL = "https://api.example.invalid"
KEY = "osk_client_test_5b1e"


class Waits(list[float]):
    """Sleeps without taking time, and remembers how long."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def ask(
    answer: Callable[[httpx.Request], httpx.Response],
    call: Callable[[OneSchemaClient], Awaitable[Any]] = lambda client: client.embed_events(1),
    *,
    retry: RetryPolicy | None = None,
    waits: Waits | None = None,
) -> Any:
    pace = Pace(sleep=Waits() if waits is None else waits)
    connection = Connection(URL, SecretStr(KEY), 5, pace, transport=lambda: httpx.MockTransport(answer))
    connection.retry = retry or connection.retry

    async def run() -> Any:
        async with open_client(connection) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, EmbedRefusedError),
        (403, EmbedRefusedError),
        (404, EmbedGoneError),
        (410, EmbedGoneError),
        (451, RequestRejectedError),
        (301, RequestRejectedError),
        (400, RequestRejectedError),
        (409, RequestRejectedError),
        (422, RequestRejectedError),
    ],
)
def test_what_is_permanent_is_asked_once_and_no_redirect_is_followed(
    status: int, error: type[EmbedAnalyticsError]
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(status, headers={"Location": "https://elsewhere.invalid/"})

    with pytest.raises(error) as raised:
        ask(answer)
    assert asked == [f"{URL}/v1/embeds/1/events"]
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_is_transient_is_asked_again(status: int) -> None:
    answers = iter([httpx.Response(status), httpx.Response(200, text='[{"a":'), httpx.Response(200, text="[]")])
    assert ask(lambda _: next(answers)).events == []


@pytest.mark.parametrize(("asked", "least", "most"), [("7", 7, 30), ("9999", 30, 30), ("soon", 0, 1)])
def test_retry_after_is_honoured_up_to_the_longest_wait(asked: str, least: float, most: float) -> None:
    answers = iter([httpx.Response(503, headers={"Retry-After": asked}), httpx.Response(200, text="[]")])
    waits = Waits()
    ask(lambda _: next(answers), waits=waits)
    assert least <= max(waits) <= most


def test_attempts_end() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(500)

    with pytest.raises(SourceError, match="answered 500"):
        ask(answer, retry=RetryPolicy(attempts=3))
    assert len(asked) == 3


def test_the_first_attempt_counts_toward_the_budget() -> None:
    asked: list[httpx.Request] = []

    class Silence(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request)
            await asyncio.Event().wait()
            raise AssertionError("nobody answers")

    async def run() -> None:
        connection = Connection(URL, SecretStr(KEY), 5, Pace(sleep=Waits()), transport=Silence)
        connection.retry = RetryPolicy(budget_seconds=0.05)
        async with open_client(connection) as client:
            await client.embed_events(1)

    with pytest.raises(SourceError, match=r"longer than 0\.05 s"):
        asyncio.run(run())
    assert len(asked) == 1


def test_every_request_carries_the_key_and_no_cookie() -> None:
    sent: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers)
        return httpx.Response(200, text="[]", headers={"Set-Cookie": "balancer=a"})

    async def twice(client: OneSchemaClient) -> None:
        await client.embed_events(1)
        await client.embed_events(2)

    ask(answer, twice)
    assert [headers["X-API-KEY"] for headers in sent] == [KEY, KEY]
    assert [headers["User-Agent"] for headers in sent] == ["embed-analytics"] * 2
    assert all("Cookie" not in headers for headers in sent)


def test_a_body_that_trickles_ends() -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.01)

    policy = RetryPolicy(attempts=1, budget_seconds=0.2)
    with pytest.raises(SourceError, match=r"longer than 0\.2 s"):
        ask(lambda _: httpx.Response(200, stream=Trickle()), retry=policy)


@pytest.mark.parametrize(
    "response",
    [httpx.Response(301, headers={"Location": URL}), httpx.Response(404), httpx.Response(200, json={"name": "x"})],
    ids=["redirect", "404", "another API"],
)
def test_an_address_that_is_not_the_api_is_named_with_its_setting(response: httpx.Response) -> None:
    with pytest.raises(RequestRejectedError, match=rf"{URL} .*ONESCHEMA_API_URL"):
        ask(lambda _: response, lambda client: client.whoami())


@pytest.mark.parametrize(
    "url", ["http://[::1", "api.oneschema.co", "https://", "ftp://x", "http://\x00x", "https://:hidden@host"]
)
def test_a_url_that_cannot_be_asked_is_said_to_be_so_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ONESCHEMA_API_URL") as raised:
        Connection(url, SecretStr(KEY), 5, Pace())
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("proxy", ["foo://user:hidden@proxy", "socks5://user:hidden@proxy:1"])
def test_a_proxy_that_cannot_be_used_is_said_to_be_so(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    async def run() -> None:
        async with open_client(Connection(URL, SecretStr(KEY), 5, Pace())):
            raise AssertionError("a proxy that cannot be used was taken")

    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as raised:
        asyncio.run(run())
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("key", ["osk_s\xe9cret", "osk\nsecret", "osk secret"])
def test_a_key_that_no_header_can_carry_is_not_repeated(key: str, tmp_path: Path) -> None:
    settings = Settings.defaults(oneschema_api_key=key, embed_analytics_home=tmp_path)
    with pytest.raises(ConfigurationError, match="ONESCHEMA_API_KEY") as raised:
        settings.require_api_key()
    assert "cret" not in str(raised.value)


def test_white_space_around_a_key_is_none_of_it(tmp_path: Path) -> None:
    settings = Settings.defaults(oneschema_api_key=f" {KEY}\r\n", embed_analytics_home=tmp_path)
    assert settings.require_api_key().get_secret_value() == KEY
