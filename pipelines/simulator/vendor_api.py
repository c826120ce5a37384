"""The vendor's endpoints, as docs/vendor-api.md describes them."""

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipelines.simulator.admin import ADMIN_ERRORS, admin_routes
from pipelines.simulator.gate import Gate, error_body
from pipelines.simulator.simulation import Simulation

_FILE_FORMATS = ("csv", "parquet", "xlsx")
# PostgreSQL's bigint: the vendor cannot have an id beyond it.
_LARGEST_ID = 2**63 - 1


def create_app(simulation: Simulation, stopping: asyncio.Event | None = None) -> ASGIApp:
    """The ASGI application: vendor's and admin's endpoints.

    `stopping`, once set, ends the requests that hang on purpose.
    """
    endpoints = _VendorEndpoints(simulation)
    app = Starlette(
        routes=[
            Route("/v1/embeds/{embed_id}/events", endpoints.events),
            Route("/v1/embeds", endpoints.embeds),
            Route("/v1/embeds/{embed_id}", endpoints.embed),
            Route("/v1/embeds/{embed_id}/events/{event_id}", endpoints.event),
            Route("/v1/embeds/{embed_id}/events/{event_id}/file-url", endpoints.file_url),
            Route("/whoami", endpoints.whoami),
            *admin_routes(simulation),
        ],
        exception_handlers={HTTPException: _answer_error, **ADMIN_ERRORS},
    )
    return Gate(app, simulation, stopping or asyncio.Event())


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, "not_found" if error.status_code == 404 else "invalid_request", error.detail)


class _VendorEndpoints:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def whoami(self, _: Request) -> Response:
        """`{"org": name}`."""
        return _json(orjson.dumps({"org": self._simulation.options.organisation}))

    async def embeds(self, request: Request) -> Response:
        """An array of summaries; `offset` and `count` work as the `paging` switch says. 422 for a bad one."""
        switches = self._simulation.switches
        total = len(self._simulation.listed_ids()) + switches.surplus_total
        if switches.paging in ("linked", "wrapped"):
            return self._announced(request, self._simulation.summaries, total)
        response = self._embeds_by_offset(request)
        if switches.announces_total:
            response.headers["X-Total-Count"] = str(total)
        return response

    def _embeds_by_offset(self, request: Request) -> Response:
        switches = self._simulation.switches
        if switches.paging == "ignored":
            return self._array(self._simulation.summaries(0, None))
        given = parse_qs(request.url.query, keep_blank_values=True)
        if switches.paging == "refused":
            refused = next((name for name in ("offset", "count") if name in given), None)
            if refused:
                return _error(422, "invalid_parameter", f"{refused} is not a parameter.", refused)
            return self._array(self._simulation.summaries(0, None))
        numbers: dict[str, int | None] = {}
        for name in ("offset", "count"):
            text = given[name][-1] if name in given else None
            if text is not None and not (text.isascii() and text.isdigit() and len(text) < 19):
                return _error(422, "invalid_parameter", f"{name} must be a whole number.", name)
            numbers[name] = None if text is None else int(text)
        count = numbers["count"]
        if switches.paging == "capped":
            count = min(switches.page_cap, switches.page_cap if count is None else count)
        return self._array(self._simulation.summaries(numbers["offset"] or 0, count))

    async def embed(self, request: Request) -> Response:
        """One summary with its `columns`; 404 for an unknown or deleted one."""
        embed_id = _path_id(request, "embed_id")
        body = None if embed_id is None else self._simulation.detail(embed_id)
        return _not_found("embed_id") if body is None else _json(body)

    async def events(self, request: Request) -> Response:
        """The embed's events created by now and not purged, in the shape that is switched on."""
        embed_id = _path_id(request, "embed_id")
        body = None if embed_id is None else self._simulation.events(embed_id)
        if body is None:
            return _not_found("embed_id")
        if self._simulation.switches.paging in ("linked", "wrapped"):
            events = orjson.loads(body)
            return self._announced(
                request, lambda offset, count: orjson.dumps(events[offset:][:count]), total=len(events)
            )
        return self._array(body)

    def _array(self, body: bytes) -> Response:
        return _json(b"\xef\xbb\xbf" + body if self._simulation.switches.answers_with_bom else body)

    def _announced(self, request: Request, stretch: Callable[[int, int | None], bytes], total: int) -> Response:
        """One page of a list that says where the next one is."""
        switches = self._simulation.switches
        cursor = request.query_params.get("cursor", "0")
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            return _error(422, "invalid_parameter", "cursor must be one that was handed out.", "cursor")
        begin, end = int(cursor), int(cursor) + switches.page_cap
        body, has_more = stretch(begin, switches.page_cap), stretch(end, 1) != b"[]"
        if switches.paging == "wrapped":
            beside = {"next_cursor": str(end) if has_more else None, "has_more": has_more}
            body = b'{"data":' + body + b',"pagination":' + orjson.dumps(beside) + b"}"
        response = _json(body)
        if switches.paging == "linked" and has_more:
            response.headers["Link"] = (
                f'<{request.url.path}?cursor={end}>; rel="next", <{request.url.path}>; rel="first"'
            )
        if switches.announces_total:
            response.headers["X-Total-Count"] = str(total)
        return response

    async def event(self, request: Request) -> Response:
        """One event, by its `id`."""
        embed_id, event_id = _path_id(request, "embed_id"), _path_id(request, "event_id")
        body = None if embed_id is None else self._simulation.event(embed_id, event_id)
        return _not_found("event_id") if body is None else _json(body)

    async def file_url(self, request: Request) -> Response:
        """`{"url": ...}`, pre-signed; 404 for an event without a snapshot, 422 for an unknown file_format."""
        file_format = request.query_params.get("file_format", "csv")
        if file_format not in _FILE_FORMATS:
            return _error(422, "invalid_parameter", f"file_format must be one of {', '.join(_FILE_FORMATS)}.")
        embed_id, event_id = _path_id(request, "embed_id"), _path_id(request, "event_id")
        body = None if embed_id is None else self._simulation.event(embed_id, event_id)
        event = None if body is None else orjson.loads(body)
        if event is None or event.get("has_snapshot") is not True:
            return _not_found("event_id")
        signature = self._simulation.file_signature(event["uuid"])
        url = f"https://files.simulator.invalid/{event['uuid']}.{file_format}?expires=900&signature={signature}"
        return _json(orjson.dumps({"url": url}))


def _path_id(request: Request, name: str) -> int | None:
    text = request.path_params[name]
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    return int(text) if int(text) <= _LARGEST_ID else None


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _error(status: int, code: str, message: str, param: str | None = None) -> Response:
    return Response(error_body(code, message, param), status, media_type="application/json")


def _not_found(param: str) -> Response:
    return _error(404, "not_found", "There is no such thing here.", param)
