"""The vendor's API over HTTP: an async client per worker, with retries and errors that are permanent or transient.

httpx slows down when many tasks share one pool (docs/architecture.md, "Measured"). So each worker owns a client with
one connection (transport.py), and all share the pace, the TLS context and the counters.
"""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar

import httpx
import tenacity
from pydantic import SecretStr

from pipelines.errors import (
    ConfigurationError,
    CredentialRefusedError,
    HostUnreachableError,
    PermanentError,
    SourceError,
    TransientError,
)
from pipelines.oneschema.json_text import Json, loads
from pipelines.oneschema.pace import Pace, http_date, retry_after_seconds
from pipelines.oneschema.paging import AnnouncedWalk, Page, PageRequest, announced_link, read_page, shortfall
from pipelines.oneschema.proxies import is_loopback, proxy_for
from pipelines.oneschema.transport import SingleConnectionTransport
from pipelines.settings import default_of

T = TypeVar("T")

TRANSIENT_STATUSES = frozenset({408, 425, 429})

# Statuses with which a server refuses parameters that it does not know.
PARAMETER_STATUSES = frozenset({400, 422})


class EmbedGoneError(PermanentError):
    """The API answered 404 or 410: the embed was deleted, or its events were purged."""


class RequestRejectedError(PermanentError):
    """The API refused this one request (400, 409, 422, 451, a redirect), or its answer has an unexpected shape."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class EmbedRefusedError(RequestRejectedError):
    """The API answered 401 or 403 for one embed. GET /whoami tells whether it refuses the key."""


class RetryableResponseError(SourceError):
    """An answer that may be better next time. `retry_after` is the wait that the server asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """How long one request is retried: exponential backoff with full jitter between the two waits, in seconds.

    No single attempt takes longer than the budget, not even one whose answer trickles in.
    """

    attempts: int = 8
    budget_seconds: float = default_of("embed_analytics_retry_budget_seconds")
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 30


# A run's first request finds out whether the host answers at all. If it does not, the run must end within 30 s.
FIRST_CONTACT = RetryPolicy(attempts=8, budget_seconds=12, wait_initial_seconds=0.3, wait_max_seconds=2)
FIRST_CONTACT_TIMEOUT_SECONDS = 6.0
CONNECT_TIMEOUT_SECONDS = 5.0


@dataclass
class Connection:
    """What the clients of all workers share. The key is a SecretStr, so no repr shows it.

    Raises ConfigurationError for a URL that requests cannot go to.
    """

    api_url: str
    api_key: SecretStr
    timeout_seconds: float
    pace: Pace
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    allows_plain_http: bool = False
    request_count: int = 0
    # False once the server has refused `offset` and `count`.
    takes_offsets: bool = True
    tls: ssl.SSLContext | Literal[False] = field(default=False, repr=False)
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.api_url)
        except httpx.InvalidURL:
            url = httpx.URL()
        # The URL appears in messages and in home.json, so it must not hold a credential.
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise ConfigurationError(
                "ONESCHEMA_API_URL cannot be used: it needs https:// and a host, and must not have a user or password."
            )
        # From the parsed URL, because a scheme may be written in capitals.
        if url.scheme == "http" and not is_loopback(url.host) and not self.allows_plain_http:
            raise ConfigurationError(
                "ONESCHEMA_API_URL begins with http://, which would send the API key in the clear: write https://, or "
                "set ONESCHEMA_ALLOW_PLAIN_HTTP=true if you trust the network in between."
            )
        self.proxy = proxy_for(url)
        # Loading the CA bundle takes 20 ms. One context serves all workers, and plain HTTP needs none.
        self.tls = httpx.create_ssl_context() if url.scheme == "https" else False


@asynccontextmanager
async def open_client(connection: Connection) -> AsyncGenerator["OneSchemaClient"]:
    """A client with one connection of its own. Raises ConfigurationError for a proxy that cannot be used."""
    try:
        transport = _transport(connection)
    except (httpx.InvalidURL, ValueError, ImportError):
        # The cause is left out: a proxy's URL may hold a password.
        raise ConfigurationError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names a proxy that cannot be used: it needs http:// or https://."
        ) from None
    async with transport:
        yield OneSchemaClient(transport, connection)


def _transport(connection: Connection) -> httpx.AsyncBaseTransport:
    if connection.transport is not None:
        return connection.transport()
    if connection.proxy is None:
        return SingleConnectionTransport(connection.tls or None)
    return httpx.AsyncHTTPTransport(
        verify=connection.tls,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        proxy=connection.proxy,
        # `proxy` and `tls` already hold what httpx would read from the environment.
        trust_env=False,
    )


@dataclass(frozen=True)
class Identity:
    """The organisation that the key belongs to, and the vendor's clock as it answered (None: it did not say)."""

    organisation: str
    answered_at: datetime | None


@dataclass(frozen=True)
class EventsAnswer:
    """The API's answer for one embed's events. The events are None if the bodies are those already known.

    `problem` says why there may be more events than were answered. If it is set, do not remember the digest as known.
    """

    body_digest: bytes
    events: list[Json] | None
    problem: str | None = None


class OneSchemaClient:
    """The calls that the poll makes. Each raises the errors of `_get`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection
        self._timeout = httpx.Timeout(
            connection.timeout_seconds, connect=min(CONNECT_TIMEOUT_SECONDS, connection.timeout_seconds)
        )
        self._headers = httpx.Headers(
            {
                "Accept": "*/*",
                # What httpx decompresses without another package.
                "Accept-Encoding": "gzip, deflate",
                "Connection": "keep-alive",
                "User-Agent": "embed-analytics",
                "X-API-KEY": connection.api_key.get_secret_value(),
            }
        )

    async def whoami(self) -> Identity:
        """Whose key this is."""

        def identity(response: httpx.Response) -> Identity:
            answer = _json(response.content, "/whoami")
            name = answer.get("org") if isinstance(answer, dict) else None
            if not isinstance(name, str):
                raise RequestRejectedError("GET /whoami did not answer with an organisation")
            return Identity(name, http_date(response.headers.get("date")))

        timeout = min(FIRST_CONTACT_TIMEOUT_SECONDS, self._connection.timeout_seconds)
        try:
            return await self._get("/whoami", identity, retry=FIRST_CONTACT, timeout=httpx.Timeout(timeout))
        except (EmbedGoneError, RequestRejectedError) as error:
            raise RequestRejectedError(
                f"{error}: is {self._connection.api_url} the address of the OneSchema API (ONESCHEMA_API_URL)?"
            ) from None

    async def embeds(self, request: PageRequest) -> Page:
        """One page of embed summaries, or all of them if the server does not page. Paging is not documented.

        If the server refuses `offset` and `count` for the first page, all later requests leave them out.
        """
        path = "/v1/embeds"

        def page(response: httpx.Response) -> Page:
            return _page(_json(response.content, path), response, path)

        if request.url is not None:
            return await self._get(path, page, url=request.url)
        if self._connection.takes_offsets:
            try:
                return await self._get(path, page, params={"offset": request.offset, "count": request.count})
            except RequestRejectedError as error:
                # On a later page, asking again without them would take the beginning of the list for the rest of it.
                if error.status not in PARAMETER_STATUSES or request.offset > 0:
                    raise
                self._connection.takes_offsets = False
        return replace(await self._get(path, page), is_unpaged=True)

    async def embed_events(
        self, embed_id: int, known_body_digest: bytes | None = None, *, attempts: int | None = None
    ) -> EventsAnswer:
        """The events of one embed. A body that is known already is not decoded.

        `attempts` lowers the policy's number of attempts. Raises EmbedGoneError on 404 and 410, and EmbedRefusedError
        on 401 and 403.
        """
        path = f"/v1/embeds/{embed_id}/events"

        digest = hashlib.blake2b(digest_size=16)

        def read(response: httpx.Response) -> tuple[bytes, Page | None]:
            """The body and its page. The page is None if all bodies so far are those known, so that no page follows."""
            so_far = digest.copy()
            so_far.update(response.content)
            if so_far.digest() == known_body_digest and announced_link(response) is None:
                return response.content, None
            return response.content, _page(_json(response.content, path), response, path)

        policy = self._connection.retry
        if attempts is not None:
            policy = replace(policy, attempts=min(attempts, policy.attempts))
        walk = AnnouncedWalk()
        try:
            while walk.has_next_page:
                body, page = await self._get(path, read, retry=policy, url=walk.url)
                digest.update(body)
                if page is None:
                    return EventsAnswer(digest.digest(), None)
                walk.update_state(page)
        except CredentialRefusedError as error:
            raise EmbedRefusedError(f"GET {path} answered {error.status}") from None
        problem = walk.problem or shortfall(walk.total, len(walk.items))
        return EventsAnswer(digest.digest(), walk.items, problem and f"GET {path} {problem}")

    async def _get(
        self,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        params: dict[str, Any] | None = None,
        url: str | None = None,
        retry: RetryPolicy | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> T:
        """Return `read(response)` for a 200. `url` is the address of a page that an earlier answer of `path` announced.

        Transient faults are retried within the policy's budget, no sooner than a Retry-After asks: time-outs, dropped
        connections, 408, 425, 429, 5xx, bodies that end early or are not JSON. Raises CredentialRefusedError (401,
        403), EmbedGoneError (404, 410), RequestRejectedError (other 4xx, redirects), HostUnreachableError or
        SourceError.
        """
        policy = retry or self._connection.retry
        attempt = partial(
            self._get_once,
            path,
            url or self._connection.api_url + path,
            read,
            params,
            timeout or self._timeout,
            policy.budget_seconds,
        )
        started = time.monotonic()
        try:
            return await attempt()
        except TransientError as error:
            # tenacity takes a tenth of the CPU time of a request, so only a request that failed is handed to it.
            return await self._get_again(attempt, error, policy, time.monotonic() - started)

    async def _get_again(
        self, attempt: Callable[[], Awaitable[T]], error: TransientError, policy: RetryPolicy, spent_seconds: float
    ) -> T:
        """Go on within the policy after a first attempt that took `spent_seconds` and failed with `error`."""
        budget = policy.budget_seconds - spent_seconds
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(policy.attempts) | tenacity.stop_after_delay(budget),
            wait=_wait(policy),
            sleep=self._connection.pace.sleep,
            reraise=True,
        )
        async for each in attempts:
            with each:
                if each.retry_state.attempt_number == 1:
                    raise error
                return await attempt()
        raise error

    async def _get_once(
        self,
        path: str,
        url: str,
        read: Callable[[httpx.Response], T],
        params: dict[str, Any] | None,
        timeout: httpx.Timeout,
        limit_seconds: float,
    ) -> T:
        await self._connection.pace.turn()
        self._connection.request_count += 1
        try:
            # httpx's time-outs are per read, so a body that trickles in would never end.
            async with asyncio.timeout(limit_seconds):
                response = await self._send(url, params, timeout)
        except TimeoutError:
            raise RetryableResponseError(f"GET {path} took longer than {limit_seconds:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise HostUnreachableError(
                f"{self._connection.api_url} cannot be reached ({type(error).__name__}): "
                "check ONESCHEMA_API_URL or ONESCHEMA_REGION, and the network."
            ) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            # Only the error's type: its message may quote what the server sent.
            raise RetryableResponseError(
                f"GET {path} of {self._connection.api_url} broke off ({type(error).__name__}); "
                "is ONESCHEMA_API_URL the address of the OneSchema API?"
            ) from None
        if response.status_code != 200:
            raise self._refusal(response, path)
        result = read(response)
        self._connection.pace.succeeded()
        return result

    async def _send(self, url: str, params: dict[str, Any] | None, timeout: httpx.Timeout) -> httpx.Response:
        """The answer with its whole body.

        An httpx.AsyncClient would add cookies and redirects, which are not wanted, for a fifth of a request's CPU time.
        """
        request = httpx.Request(
            "GET", url, params=params, headers=self._headers, extensions={"timeout": timeout.as_dict()}
        )
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response

    def _refusal(self, response: httpx.Response, path: str) -> Exception:
        status = response.status_code
        if status in TRANSIENT_STATUSES or status >= 500:
            wait = retry_after_seconds(response.headers.get("Retry-After"))
            if status == 429:
                self._connection.pace.refused(wait)
            return RetryableResponseError(f"GET {path} answered {status}", wait)
        if status in (401, 403):
            return CredentialRefusedError(
                f"The API refused the key ({status}): check ONESCHEMA_API_KEY, and that it belongs to "
                f"{self._connection.api_url} (ONESCHEMA_REGION or ONESCHEMA_API_URL).",
                status,
            )
        if status in (404, 410):
            return EmbedGoneError(f"GET {path} answered {status}")
        return RequestRejectedError(f"GET {path} answered {status}", status)


def _json(body: bytes, path: str) -> Json:
    try:
        return loads(body)
    except ValueError:
        # A body that ends early looks the same, so it is worth another attempt.
        raise RetryableResponseError(f"GET {path} answered a body that is not JSON") from None


def _page(answer: Json, response: httpx.Response, path: str) -> Page:
    page = read_page(answer, response)
    if page is None:
        raise RequestRejectedError(f"GET {path} answered JSON that is neither an array nor an object with one in it")
    return page


def _wait(policy: RetryPolicy) -> Callable[[tenacity.RetryCallState], float]:
    backoff = tenacity.wait_random_exponential(
        multiplier=policy.wait_initial_seconds, max=policy.wait_max_seconds, min=policy.wait_initial_seconds / 2
    )

    def seconds(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, RetryableResponseError) else None
        return max(backoff(state), min(asked, policy.wait_max_seconds)) if asked is not None else backoff(state)

    return seconds
