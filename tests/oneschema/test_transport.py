"""The transport of one connection, beside httpx's own as the oracle: the same answers and errors, over real sockets."""

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from pipelines.oneschema.transport import SingleConnectionTransport

# A certificate that nobody vouches for.
STRANGER = Path(__file__).parent / "fixtures" / "stranger.pem"

# Long enough for any answer that comes. What should time out never gets one.
PATIENCE = 10.0
IMPATIENCE = 0.05

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """The connections and the requests that a server had."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])
    closed: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def server(
    answer: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncGenerator[Server]:
    """A server that calls `answer` for each request. It closes a connection once `answer` has."""
    about = Server()
    hanging: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        about.connections += 1
        try:
            while not writer.is_closing():
                about.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            about.closed.set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging.add(asyncio.create_task(serve(reader, writer)))

    listening = await asyncio.start_server(begin, host, 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    about.url = f"{'https' if tls else 'http'}://{shown}:{port}/path?a=b"
    try:
        yield about
    finally:
        listening.close()
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


def sends(*answers: bytes, then_closes: bool = False) -> Behaviour:
    """Each answer in turn, and the last one ever after."""
    left = list(answers)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        if then_closes:
            writer.close()

    return answer


async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Half an answer, then RST rather than FIN."""
    writer.write(HALF)
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def trusting(*, checks_host: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(STRANGER))
    context.check_hostname = checks_host
    return context


def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(STRANGER)
    return context


def ours(tls: ssl.SSLContext | None) -> httpx.AsyncBaseTransport:
    return SingleConnectionTransport(tls)


def httpx_own(tls: ssl.SSLContext | None) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    return httpx.AsyncHTTPTransport(verify=tls or True, limits=limits, trust_env=False)


BOTH = pytest.mark.parametrize("make", [ours, httpx_own])
Make = Callable[[ssl.SSLContext | None], httpx.AsyncBaseTransport]


async def get(
    transport: httpx.AsyncBaseTransport, url: str, *, seconds: float = PATIENCE, **timeouts: float
) -> httpx.Response:
    timeout = httpx.Timeout(seconds, **timeouts).as_dict()
    response = await transport.handle_async_request(httpx.Request("GET", url, extensions={"timeout": timeout}))
    await response.aread()
    await response.aclose()
    return response


@BOTH
def test_requests_go_over_one_connection(make: Make) -> None:
    async def run() -> None:
        async with server(sends(HELLO)) as about, make(None) as transport:
            for _ in range(3):
                response = await get(transport, about.url)
                assert (response.status_code, response.text) == (200, "hello")
            assert (about.connections, len(about.requests)) == (1, 3)
            assert about.requests[0].startswith(b"GET /path?a=b HTTP/1.1\r\n")
            assert httpx.URL(about.url).netloc in about.requests[0]

    asyncio.run(run())


@BOTH
def test_a_chunked_and_compressed_body_is_read_whole(make: Make) -> None:
    text = "many words " * 20_000
    packed = gzip.compress(text.encode())
    halves = packed[:9], packed[9:]
    body = b"".join(b"%x\r\n%s\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"

    async def run() -> None:
        async with server(sends(head + body)) as about, make(None) as transport:
            assert (await get(transport, about.url)).text == text
            assert (await get(transport, about.url)).text == text
            assert about.connections == 1

    asyncio.run(run())


@BOTH
@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_a_connection_that_the_server_closes_between_requests_is_opened_again(make: Make, header: bytes) -> None:
    async def run() -> None:
        answer = HELLO.replace(b"\r\n\r\n", b"\r\n%s\r\n" % header)
        async with server(sends(answer, then_closes=True)) as about, make(None) as transport:
            for number in (1, 2, 3):
                assert (await get(transport, about.url)).text == "hello"
                await about.closed.wait()
                about.closed.clear()
                assert about.connections == number

    asyncio.run(run())


@BOTH
@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (resets, httpx.ReadError),
        (sends(HALF, then_closes=True), httpx.RemoteProtocolError),
        (sends(b"", then_closes=True), httpx.RemoteProtocolError),
        (sends(b"not HTTP at all\r\n\r\n"), httpx.RemoteProtocolError),
        (never, httpx.ReadTimeout),
        (sends(HALF), httpx.ReadTimeout),
    ],
    ids=["reset", "cut", "closed", "not HTTP", "silent", "stuck"],
)
def test_an_answer_that_breaks_off_has_httpx_s_error_and_the_next_one_comes(
    make: Make, broken: Behaviour, error: type[httpx.TransportError]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (broken if about.connections == 1 else sends(HELLO))(reader, writer)

    async def run() -> None:
        nonlocal about
        async with server(answer) as about, make(None) as transport:
            impatient = IMPATIENCE if error is httpx.ReadTimeout else PATIENCE
            with pytest.raises(httpx.TransportError) as raised:
                await get(transport, about.url, read=impatient)
            assert type(raised.value) is error
            assert (await get(transport, about.url)).text == "hello"
            assert about.connections == 2

    about = Server()
    asyncio.run(run())


@BOTH
def test_a_request_that_is_called_off_leaves_nothing_behind(make: Make) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        await (never if about.connections == 1 else sends(HELLO))(reader, writer)

    async def run() -> None:
        nonlocal about, began
        began = asyncio.Event()
        async with server(answer) as about, make(None) as transport:
            asking = asyncio.create_task(get(transport, about.url))
            await began.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert (await get(transport, about.url)).text == "hello"

    about, began = Server(), asyncio.Event()
    asyncio.run(run())


@BOTH
def test_a_second_request_waits_for_the_first_as_long_as_it_may(make: Make) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        await may_answer.wait()
        await sends(HELLO)(reader, writer)

    async def run() -> None:
        nonlocal began, may_answer
        began, may_answer = asyncio.Event(), asyncio.Event()
        async with server(answer) as about, make(None) as transport:
            first = asyncio.create_task(get(transport, about.url))
            await began.wait()
            with pytest.raises(httpx.PoolTimeout):
                await get(transport, about.url, pool=IMPATIENCE)
            second = asyncio.create_task(get(transport, about.url))
            may_answer.set()
            assert [(await each).text for each in (first, second)] == ["hello", "hello"]
            assert about.connections == 1

    began = may_answer = asyncio.Event()
    asyncio.run(run())


@BOTH
def test_a_host_that_is_not_there_and_one_that_does_not_shake_hands(make: Make) -> None:
    async def run() -> None:
        async with make(None) as transport:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                with pytest.raises(httpx.ConnectError):
                    await get(transport, f"http://127.0.0.1:{unused.getsockname()[1]}/")
                # It accepts the connection, and TLS never begins.
                unused.listen()
                with pytest.raises(httpx.ConnectTimeout):
                    await get(transport, f"https://127.0.0.1:{unused.getsockname()[1]}/", connect=IMPATIENCE)
            # The transport is not the worse for it.
            async with server(sends(HELLO)) as about:
                assert (await get(transport, about.url)).text == "hello"

    asyncio.run(run())


@BOTH
@pytest.mark.parametrize("tls", [None, trusting(checks_host=True)], ids=["unknown issuer", "another host"])
def test_a_certificate_that_is_wrong_ends_before_a_request(make: Make, tls: ssl.SSLContext | None) -> None:
    async def run() -> None:
        async with server(sends(HELLO), tls=serving()) as about, make(tls) as transport:
            with pytest.raises(httpx.ConnectError):
                await get(transport, about.url)
            assert about.requests == []

    asyncio.run(run())


@BOTH
def test_tls_keeps_its_connection_too(make: Make) -> None:
    async def run() -> None:
        tls = trusting(checks_host=False)
        async with server(sends(HELLO), tls=serving()) as about, make(tls) as transport:
            assert [(await get(transport, about.url)).text for _ in range(3)] == ["hello"] * 3
            assert about.connections == 1

    asyncio.run(run())


@BOTH
def test_another_server_gets_a_connection_of_its_own(make: Make) -> None:
    async def run() -> None:
        async with server(sends(HELLO)) as one, server(sends(HELLO)) as other, make(None) as transport:
            for about in (one, other, one):
                assert (await get(transport, about.url)).text == "hello"
            assert (len(one.requests), len(other.requests)) == (2, 1)

    asyncio.run(run())


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@BOTH
@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(make: Make) -> None:
    async def run() -> None:
        async with server(sends(HELLO), host="::1") as about, make(None) as transport:
            assert (await get(transport, about.url)).text == "hello"

    asyncio.run(run())


def test_an_idle_connection_is_not_used_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.oneschema.transport.KEEPALIVE_SECONDS", -1.0)

    async def run() -> None:
        async with server(sends(HELLO)) as about, ours(None) as transport:
            for number in (1, 2):
                await get(transport, about.url)
                assert about.connections == number

    asyncio.run(run())
