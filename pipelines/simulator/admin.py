"""The simulator's own endpoints, below /_simulator, without an API key: the clock, the switches, and the truth."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from pipelines.errors import ConfigurationError
from pipelines.simulator.json_values import Json
from pipelines.simulator.pushes import pushes
from pipelines.simulator.simulation import Simulation
from pipelines.simulator.truth import Truth


def admin_routes(simulation: Simulation) -> list[Mount]:
    """The routes, below one mount."""
    endpoints = _AdminEndpoints(simulation)
    return [
        Mount(
            "/_simulator",
            routes=[
                Route("/", endpoints.index),
                Route("/truth", endpoints.truth),
                Route("/truth/embeds", endpoints.truth_embeds),
                Route("/incidents", endpoints.incidents),
                Route("/clock", endpoints.clock, methods=["GET", "POST"]),
                Route("/switches", endpoints.switches, methods=["GET", "POST"]),
                Route("/requests", endpoints.requests),
                Route("/requests/reset", endpoints.reset_requests, methods=["POST"]),
                Route("/embeds/{embed_id:int}", endpoints.delete_embed, methods=["DELETE"]),
                Route("/events", endpoints.plant, methods=["POST"]),
                Route("/pushes", endpoints.pushes),
                Route("/credentials", endpoints.credentials),
            ],
        )
    ]


class BadRequestError(ValueError):
    """The admin's request cannot be used. The message says why."""


class _AdminEndpoints:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._truth = Truth(simulation)

    async def index(self, _: Request) -> Response:
        """GET: the endpoints, as `{"<method> <path>": "what it does", ...}`."""
        return _json(
            {
                "GET truth": "every event so far, JSON lines; ?embed_id= for one embed",
                "GET truth/embeds": "every embed so far, JSON lines",
                "GET incidents": "what happened to an eventful account",
                "GET|POST clock": "the clock; move it with now or advance_seconds",
                "GET|POST switches": "paging, order, shape, latency, faults, retention",
                "GET requests": "what the API was asked",
                "POST requests/reset": "forget that",
                "DELETE embeds/{id}": "delete an embed as the vendor does",
                "POST events": "plant hand-made events, embeds or answers",
                "GET pushes": "what the webhooks would send, JSON lines",
                "GET credentials": "all that must never be stored",
            }
        )

    async def truth(self, request: Request) -> Response:
        """GET, `?embed_id=` optional: JSON lines, one event each, with the keys of `Truth.events`."""
        text = request.query_params.get("embed_id")
        if text is not None and not (text.isascii() and text.isdigit()):
            raise BadRequestError("embed_id must be a whole number.")
        return _json_lines(self._truth.events(None if text is None else int(text)))

    async def truth_embeds(self, _: Request) -> Response:
        """GET: JSON lines, one embed each, with the keys of `Truth.embeds`."""
        return _json_lines(self._truth.embeds())

    async def incidents(self, _: Request) -> Response:
        """GET: `[{"date": "YYYY-MM-DD" (UTC), "text", "template": key or null (not of one template)}]`."""
        return _json(
            [
                {
                    "date": datetime.fromtimestamp(incident.at, UTC).date(),
                    "text": incident.text,
                    "template": incident.template_key,
                }
                for incident in self._simulation.world.incidents
            ]
        )

    async def clock(self, request: Request) -> Response:
        """GET: `{"now": epoch seconds, "runs": bool}`. POST `{"now": x}` or `{"advance_seconds": x}` moves it."""
        clock = self._simulation.clock
        if request.method == "POST":
            body = await _object(request)
            if len(body) != 1 or not body.keys() <= {"now", "advance_seconds"}:
                raise BadRequestError("Give either now or advance_seconds.")
            ((name, value),) = body.items()
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadRequestError(f"{name} must be a number of seconds.")
            if name == "now":
                clock.set(float(value))
            else:
                clock.advance(float(value))
        return _json({"now": clock.now(), "runs": clock.runs})

    async def switches(self, request: Request) -> Response:
        """GET: the switches, fields of `Switches`. POST any of them: the same, changed; 422 names what cannot be used.

        `faults` is an object (fields of `Faults`), or a text as `--faults` takes.
        """
        if request.method == "POST":
            self._simulation.throw(await _object(request))
        return _json(self._simulation.switches.model_dump(mode="json"))

    async def requests(self, _: Request) -> Response:
        """GET: the vendor requests since the last reset.

        `{"total", "by_kind": {kind: count}, "by_status": {status or fault: count}, "faults": {fault: count},
        "events_by_embed": {embed id: count}, "most_in_flight"}`; kinds are whoami, embeds, embed, events, event,
        file_url and unknown.
        """
        return _json(self._simulation.requests.as_json())

    async def reset_requests(self, _: Request) -> Response:
        """POST, no body: starts the counts again from 0, and answers `{}`."""
        self._simulation.requests.reset()
        return _json({})

    async def delete_embed(self, request: Request) -> Response:
        """DELETE: answers `{}`. From then on the embed is 404 and not in the list. 404 if there is no such embed."""
        if self._simulation.delete(request.path_params["embed_id"]):
            return _json({})
        return _json({"message": "There is no such embed."}, 404)

    async def plant(self, request: Request) -> Response:
        """POST `{"embed_id": int, "embed"?: any, "events"?: [any], "body"?: text, "body_base64"?: text}`: `{}`.

        `events` join those of the embed, as they are; `body` (or its bytes in base64) replaces its events answer byte
        for byte; `embed` replaces its summary. A new embed_id makes a new embed. See `Simulation.plant`.
        """
        planted = await _object(request)
        embed_id, events, text = planted.get("embed_id"), planted.get("events"), planted.get("body")
        unknown = planted.keys() - {"embed_id", "embed", "events", "body", "body_base64"}
        if unknown or not isinstance(embed_id, int) or not isinstance(events, list | None):
            raise BadRequestError("Give embed_id, and embed, events (an array), body or body_base64.")
        body = None if text is None else str(text).encode("utf-8", "surrogatepass")
        if "body_base64" in planted:
            body = base64.b64decode(str(planted["body_base64"]))
        self._simulation.plant(embed_id, embed=planted.get("embed"), events=events, body=body)
        return _json({})

    async def pushes(self, _: Request) -> Response:
        """GET: JSON lines, a POST to `/events` each: `{"uuid", "shape" (null: plain), "headers", "body_base64"}`."""
        return _json_lines(
            {
                "uuid": push.uuid,
                "shape": push.shape,
                "headers": push.headers,
                "body_base64": base64.b64encode(push.body).decode(),
            }
            for push in pushes(self._simulation)
        )

    async def credentials(self, _: Request) -> Response:
        """GET: `{"api_keys": [], "embed_tokens": [], "jwts": [], "jwt_signatures": []}`, all texts."""
        return _json(self._truth.credentials())


async def _object(request: Request) -> dict[str, Json]:
    """The body as a JSON object, read by the standard library, which takes every number and surrogate."""
    try:
        body: Json = json.loads(await request.body())
    except ValueError as error:
        raise BadRequestError(f"The body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequestError("The body must be a JSON object.")
    return body


async def _refuse(_: Request, error: Exception) -> Response:
    """Answers 422 with `{"message": ...}`, which says what is wrong with an admin request."""
    if isinstance(error, ValidationError):
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return _json({"message": "; ".join(problems)}, 422)
    return _json({"message": str(error)}, 422)


ADMIN_ERRORS: dict[Any, Any] = dict.fromkeys((BadRequestError, ConfigurationError, ValidationError), _refuse)


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _json_lines(rows: Iterator[dict[str, Any]]) -> Response:
    # All lines are made at once, because the clock and the switches must not change between two lines.
    lines = [json.dumps(row).encode() if row.get("is_planted") else orjson.dumps(row) for row in rows]
    return Response(b"".join(line + b"\n" for line in lines), media_type="application/jsonl")
