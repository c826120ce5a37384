"""The receiver's endpoints: `POST /events`, `GET /healthz`, `GET /metrics`."""

import json
import time
from asyncio import to_thread
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.keys.key_store import KeysDamagedError, KeysUnavailableError
from pipelines.oneschema.json_text import Json, loads
from pipelines.oneschema.tokens import TokenReader
from pipelines.oneschema.unreadable_text import keepable_text
from pipelines.raw.unreadable import UnreadableBody, may_keep_text
from pipelines.webhooks.bodies import BodyTooLargeError, CannotInflateError, inflate
from pipelines.webhooks.journal import Journal, JournalRefusedError
from pipelines.webhooks.metrics import Metrics, backlog_seconds
from pipelines.webhooks.records import encode, encode_unreadable
from pipelines.webhooks.secret_keys import SecretKeys
from pipelines.webhooks.segments import segment_sizes, write_probe

MAX_BODY_BYTES = 1024 * 1024
# The total size of all bodies that have arrived in part.
MAX_PARTIAL_BYTES = 64 * 1024 * 1024
RETRY_AFTER_SECONDS = 2
# A larger array is not split into events, because it would grow in the journal.
MAX_EVENTS = 1000
# How many uuids one generation of RecentUuids holds.
RECENT_UUIDS = 50_000


class Answer:
    """A status with a small JSON body, ready to send."""

    def __init__(self, status: int, body: dict[str, str], **headers: str) -> None:
        content = orjson.dumps(body)
        fields = {"content-type": "application/json", "content-length": str(len(content)), **headers}
        self._start = {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()],
        }
        self._body = {"type": "http.response.body", "body": content}

    async def send(self, send: Send) -> None:
        await send(self._start)
        await send(self._body)


STORED = Answer(200, {"status": "stored"})
UNAUTHORIZED = Answer(
    401, {"error": "the webhook's secret is missing or wrong"}, www_authenticate='Basic realm="events"'
)
TOO_LARGE = Answer(413, {"error": f"the body is larger than {MAX_BODY_BYTES} bytes"})
# The vendor never repeats what was answered with 400. So an unreadable body is stored for a person to look at.
UNREADABLE = Answer(200, {"status": "stored", "warning": "the body is not an event with a uuid"})
TRY_LATER = Answer(429, {"error": "the event could not be stored; send it again"}, retry_after=str(RETRY_AFTER_SECONDS))


def create_app(journal: Journal, secrets: SecretKeys, tokens: TokenReader, metrics: Metrics) -> ASGIApp:
    """The ASGI application. The server starts the journal."""

    async def healthz(_: Request) -> Response:
        is_writable = await to_thread(_is_writable, journal.folder)
        segments = segment_sizes(journal.folder)
        body = {
            "status": "ok" if is_writable else "failing",
            "is_journal_writable": is_writable,
            "waiting_events": journal.waiting_count,
            "backlog_segments": len(segments),
            "backlog_bytes": sum(segment.size_bytes for segment in segments),
            "backlog_seconds": round(backlog_seconds(journal.folder), 1),
        }
        return _json(body, 200 if is_writable else 503)

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    app = Starlette(
        routes=[
            Route("/events", Events(journal, secrets, tokens, metrics), methods=["POST"]),
            Route("/healthz", healthz),
            Route("/metrics", show_metrics),
        ],
        exception_handlers={HTTPException: _answer_error},
    )
    # An unknown path answers 404 and never a redirect, because a webhook would not follow it.
    app.router.redirect_slashes = False
    return app


class Events:
    """`POST /events`: 200 when the event is on disk."""

    def __init__(self, journal: Journal, secrets: SecretKeys, tokens: TokenReader, metrics: Metrics) -> None:
        self._journal = journal
        self._secrets = secrets
        self._tokens = tokens
        self._metrics = metrics
        self._recent = RecentUuids(RECENT_UUIDS)
        self._partial_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        if answer is not None:
            await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        authorization, length, encoding = None, 0, None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-length":
                length = int(value)
            elif name == b"content-encoding":
                encoding = value if encoding is None else encoding + b"," + value
        if not self._secrets.accept(authorization):
            return self._rejected("unauthorized", UNAUTHORIZED)
        if length > MAX_BODY_BYTES:
            return self._rejected("too_large", TOO_LARGE)
        message = await receive()
        body = message.get("body", b"")
        if message.get("more_body") or message["type"] != "http.request":
            body = await self._rest(message, receive)
            if not isinstance(body, bytes):
                return body
        try:
            return await self._store(body, encoding)
        except (KeysUnavailableError, KeysDamagedError):
            return self._rejected("disk", TRY_LATER)

    async def _rest(self, message: Any, receive: Receive) -> bytes | Answer | None:
        """The body of a request that arrives in pieces, or the answer to give before all of it has arrived."""
        body = bytearray()
        try:
            while message["type"] == "http.request":
                chunk = message.get("body", b"")
                body += chunk
                self._partial_bytes += len(chunk)
                if len(body) > MAX_BODY_BYTES:
                    return self._rejected("too_large", TOO_LARGE)
                if not message.get("more_body"):
                    return bytes(body)
                if self._partial_bytes > MAX_PARTIAL_BYTES:
                    return self._rejected("overloaded", TRY_LATER)
                message = await receive()
        finally:
            self._partial_bytes -= len(body)
        # The client has left, or the server has given up on it.
        return None

    async def _store(self, body: bytes, encoding: bytes | None) -> Answer:
        received_at = time.time_ns() // 1000
        try:
            content = inflate(body, encoding, MAX_BODY_BYTES)
        except BodyTooLargeError:
            return self._rejected("too_large", TOO_LARGE)
        except CannotInflateError as error:
            unreadable = self._unreadable(body, str(error), None)
            return await self._keep([encode_unreadable(unreadable, received_at, self._tokens)], "encoding")
        try:
            value = loads(content)
        except ValueError as error:
            unreadable = self._unreadable(body, _why(error), self._text(content))
            return await self._keep([encode_unreadable(unreadable, received_at, self._tokens)], "json")
        if (uuid := _uuid(value)) is None:
            # An array is split like the API's answer. An element without a uuid ends in quarantine, as in the poll.
            events = value if isinstance(value, list) and 0 < len(value) <= MAX_EVENTS else [value]
            lines = [encode(event, received_at, self._tokens) for event in events]
            return await self._keep(lines, None if all(map(_uuid, events)) else "no_uuid")
        answer = await self._keep([encode(value, received_at, self._tokens)], None)
        if answer is STORED and self._recent.add(uuid):
            self._metrics.duplicates.inc()
        return answer

    async def _keep(self, lines: list[bytes], unreadable: str | None) -> Answer:
        """Store the lines of one body durably. `unreadable` is the reason why the body is not an event."""
        try:
            # One append for the whole body: either all of it is on disk before the answer, or it is sent again.
            await self._journal.append(b"".join(lines))
        except JournalRefusedError as error:
            return self._rejected(error.reason, TRY_LATER)
        if unreadable is None:
            return STORED
        self._metrics.unreadable[unreadable].inc()
        return UNREADABLE

    def _text(self, content: bytes) -> str | None:
        """The text that may be kept of a body that is not JSON."""
        if not may_keep_text(self._tokens.claim_policy):
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None
        return keepable_text(text, self._tokens.known_secrets)

    def _unreadable(self, body: bytes, reason: str, text: str | None) -> UnreadableBody:
        return UnreadableBody.of(body, "webhook", reason, text, digest_key=self._tokens.digest_key)

    def _rejected(self, reason: str, answer: Answer) -> Answer:
        self._metrics.rejected[reason].inc()
        # Anybody can send what has no secret. What has one may be an event that is lost, and a day's verdict knows it.
        if answer is not UNAUTHORIZED:
            self._journal.refused(reason)
        return answer


class RecentUuids:
    """The latest uuids, in two generations: between `size` and twice as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[int] = set()
        self._old: set[int] = set()

    def add(self, uuid: str) -> bool:
        """Add a uuid, and return whether it was there. Hashes are enough, because this only serves a count."""
        key = hash(uuid)
        if key in self._new or key in self._old:
            return True
        if len(self._new) >= self._size:
            self._new, self._old = set(), self._new
        self._new.add(key)
        return False


def _uuid(value: Json) -> str | None:
    """The uuid of an event. None if the value is not an event with a uuid."""
    uuid = value.get("uuid") if type(value) is dict else None
    return uuid if isinstance(uuid, str) and uuid.strip() else None


def _why(error: ValueError) -> str:
    """Why a body is not JSON, without quoting it."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos}"
    return "not JSON: not a text" if isinstance(error, UnicodeDecodeError) else str(error)


def _is_writable(folder: Path) -> bool:
    try:
        write_probe(folder)
    except OSError:
        return False
    return True


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail.lower()}, error.status_code, error.headers)


def _json(body: dict[str, Any], status: int, headers: Any = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
