"""The middleware in front of the vendor's endpoints: the API key, the request count, latency, and the faults.

It is plain ASGI, because a framework cannot produce faults such as a connection dropped in the middle of a body.
"""

import asyncio
import base64
import binascii
import hmac
import time
from contextlib import suppress
from email.utils import formatdate
from typing import cast

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.simulator.json_values import Json
from pipelines.simulator.simulation import Simulation

ADMIN_PREFIX = "/_simulator"
# The ASGI extension by which the server hands over a connection's transport (see server.py).
TRANSPORT = "simulator.transport"

_HTML = b"<!doctype html>\n<html><head><title>Just a moment...</title></head><body>Please stand by.</body></html>\n"


def error_body(code: str, message: str, param: str | None = None, data: dict[str, Json] | None = None) -> bytes:
    """An error as the vendor answers it: `{"code", "param", "message", "data"}`."""
    return orjson.dumps({"code": code, "param": param, "message": message, "data": data or {}})


def classify(path: str) -> tuple[str, int | None]:
    """The kind of a path (whoami, embeds, embed, events, event, file_url or unknown), and its embed id."""
    parts = path.strip("/").split("/")
    if parts == ["whoami"]:
        return "whoami", None
    if parts[:2] != ["v1", "embeds"]:
        return "unknown", None
    if len(parts) == 2:
        return "embeds", None
    embed_id = int(parts[2]) if parts[2].isascii() and parts[2].isdigit() else None
    kind = {3: "embed", 4: "events", 5: "event", 6: "file_url"}.get(len(parts), "unknown")
    if kind in ("events", "event", "file_url") and parts[3] != "events":
        return "unknown", None
    return kind, embed_id


class Gate:
    """ASGI middleware in front of the vendor's endpoints. Requests to the admin's endpoints pass untouched."""

    def __init__(self, app: ASGIApp, simulation: Simulation, stopping: asyncio.Event) -> None:
        self._app = app
        self._simulation = simulation
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(ADMIN_PREFIX):
            await self._app(scope, receive, send)
            return
        kind, embed_id = classify(scope["path"])
        requests = self._simulation.requests
        requests.begin(kind, embed_id)
        outcome = ["none"]

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                outcome[0] = str(message["status"])
            await send(message)

        try:
            await self._answer(scope, receive, noting_send, kind, embed_id, outcome)
        finally:
            requests.end(outcome[0])

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, kind: str, embed_id: int | None, outcome: list[str]
    ) -> None:
        simulation = self._simulation
        switches = simulation.switches
        limit = switches.refused_after_requests
        if not self._is_authorised(scope) or (limit is not None and simulation.requests.total > limit):
            code = "unauthorized" if switches.refused_status == 401 else "forbidden"
            await _respond(
                send,
                switches.refused_status,
                error_body(code, "The API key is missing or not valid.", data=simulation.error_data()),
            )
            return
        if switches.latency_seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(switches.latency_seconds):
                    await self._stopping.wait()
        target = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        fault = simulation.fault_draws.draw(switches.faults, target)
        if fault is not None:
            simulation.requests.faults[fault] += 1
            await self._fail(fault, scope, receive, send, outcome)
        elif switches.broken_list is not None and kind == "embeds":
            await _respond_broken(send, switches.broken_list, simulation.error_data())
        elif embed_id in switches.broken_embeds and kind in ("events", "event", "file_url"):
            await _respond_broken(send, switches.broken_embeds[embed_id], simulation.error_data())
        else:
            await self._app(scope, receive, send)

    def _is_authorised(self, scope: Scope) -> bool:
        """Whether the key is right, given as X-API-KEY or as the password of HTTP Basic without a user name."""
        expected = self._simulation.options.api_key.get_secret_value().encode()
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                return hmac.compare_digest(value, expected)
            if name == b"authorization" and value[:6].lower() == b"basic ":
                try:
                    given = base64.b64decode(value[6:], validate=True)
                except binascii.Error:
                    return False
                return hmac.compare_digest(given, b":" + expected)
        return False

    async def _fail(self, fault: str, scope: Scope, receive: Receive, send: Send, outcome: list[str]) -> None:
        settings = self._simulation.switches.faults
        if fault.startswith("429"):
            headers: list[tuple[bytes, bytes]] = []
            if fault == "429-seconds":
                headers = [(b"retry-after", f"{settings.retry_after_seconds:g}".encode())]
            elif fault == "429-date":
                # Use the machine's clock, because the client uses it, too.
                headers = [(b"retry-after", _http_date_in(settings.retry_after_seconds))]
            await _respond(
                send,
                429,
                error_body("rate_limited", "Too many requests.", data=self._simulation.error_data()),
                headers=headers,
            )
        elif fault in ("502", "504"):
            await _respond(send, int(fault), _HTML, content_type=b"text/html")
        elif fault.isdigit():
            await _respond(send, int(fault), b"{}")
        elif fault == "not-json":
            await _respond(send, 200, _HTML, content_type=b"text/html; charset=utf-8")
        else:
            outcome[0] = fault
            await self._break_off(fault, scope, receive, send)

    async def _break_off(self, fault: str, scope: Scope, receive: Receive, send: Send) -> None:
        """The faults of the connection, and of the body: timeout, drop, cut and truncated."""
        if fault in ("cut", "truncated"):
            start, body = await self._whole_answer(scope, receive)
            half = body[: len(body) // 2]
            if fault == "truncated":
                await _respond(send, start["status"], half)
                return
            await send(start)
            await send({"type": "http.response.body", "body": half, "more_body": True})
        elif fault == "timeout":
            await self._hang(receive, self._simulation.switches.faults.timeout_seconds)
        _transport(scope).close()
        await _disconnected(receive)

    async def _whole_answer(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """What the endpoint would answer: its response start (with its true Content-Length), and its body."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        return messages[0], b"".join(message.get("body", b"") for message in messages[1:])

    async def _hang(self, receive: Receive, seconds: float) -> None:
        """Wait until the client gives up or the server stops."""
        waits = {asyncio.ensure_future(_disconnected(receive)), asyncio.ensure_future(self._stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _transport(scope: Scope) -> asyncio.Transport:
    extensions: dict[str, object] = scope.get("extensions") or {}
    if TRANSPORT not in extensions:
        # An in-process client (httpx.ASGITransport) has no connection to drop, so it sees this error itself.
        raise ConnectionResetError("The simulator dropped the connection.")
    return cast("asyncio.Transport", extensions[TRANSPORT])


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond_broken(send: Send, breakage: str, data: dict[str, Json]) -> None:
    if breakage == "object":
        await _respond(send, 200, b'{"message":"The events have moved.","events":null}')
    elif breakage == "scalars":
        await _respond(send, 200, b'[1,"event",null,[]]')
    elif breakage == "not-json":
        await _respond(send, 200, _HTML, content_type=b"text/html; charset=utf-8")
    else:
        await _respond(
            send, int(breakage), error_body("broken_embed", "This embed cannot be answered.", "embed_id", data)
        )


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    length = str(len(body)).encode()
    sent: list[tuple[bytes, bytes]] = [(b"content-type", content_type), (b"content-length", length), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


def _http_date_in(seconds: float) -> bytes:
    return formatdate(time.time() + seconds, usegmt=True).encode()
