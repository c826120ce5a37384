"""One connection to the vendor's host, for httpx.

httpx's own transport keeps a pool, whose bookkeeping takes a fifth of the CPU time of a request (docs/architecture.md,
"Measured"). Each worker has one connection and sends one request at a time, so it needs no pool. The connection is the
same httpcore.AsyncHTTPConnection that the pool would hold, with the same TLS, keep-alive, time-outs and IPv6.
"""

import asyncio
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import httpcore
import httpx

# httpx's own default. A server may close a connection that was idle for longer.
KEEPALIVE_SECONDS = 5.0

# The first that fits counts, so the special ones stand before the general ones.
_EXCEPTIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.TimeoutException, httpx.TimeoutException),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.ProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


class SingleConnectionTransport(httpx.AsyncBaseTransport):
    """Sends requests one after another over one connection, which is opened when first needed.

    A new one is opened if the server closed it, if it broke, if it was idle for KEEPALIVE_SECONDS, and for a request to
    another server. Answers are read whole. Raises the same httpx.TransportError as httpx's own transport.

    Without `tls`, https is checked against certifi's certificates.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._connection: httpcore.AsyncHTTPConnection | None = None
        self._in_use = asyncio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer with its body, which is as it was sent: httpx decompresses it."""
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        await self._take_turn(request.extensions.get("timeout", {}).get("pool"))
        try:
            with _as_httpx():
                connection = await self._connection_to(asked.url.origin)
                answer = await connection.handle_async_request(asked)
                try:
                    body = await answer.aread()
                finally:
                    await answer.aclose()
        finally:
            self._in_use.release()
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(body))

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None

    async def _take_turn(self, seconds: float | None) -> None:
        if not self._in_use.locked():
            await self._in_use.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._in_use.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("the connection stayed in use") from None

    async def _connection_to(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        connection = self._connection
        # One that was closed, or whose answer was not read to its end, is not idle. The server closing it counts as
        # expired, and so does an attempt to connect that failed.
        if (
            connection
            and connection.is_idle()
            and not connection.has_expired()
            and connection.can_handle_request(origin)
        ):
            return connection
        await self.aclose()
        self._connection = httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._tls, keepalive_expiry=KEEPALIVE_SECONDS
        )
        return self._connection


@contextmanager
def _as_httpx() -> Generator[None]:
    try:
        yield
    except tuple(theirs for theirs, _ in _EXCEPTIONS) as error:
        raise next(ours for theirs, ours in _EXCEPTIONS if isinstance(error, theirs))(str(error)) from error
