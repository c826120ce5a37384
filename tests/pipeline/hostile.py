"""Hostile bodies from a seed, each with what an independent reader counts in it.

Not hypothesis: a hundred thousand of them are to be made, and each must be countable without the code under test.
"""

import base64
import gzip
import json
import zlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pipelines.oneschema.json_text import Json

_BOM = b"\xef\xbb\xbf"
_TEXTS = [
    *("", "x", "naïve ключ", "a.b", 'quo"te', "back\\slash", "tab\t", "\x00", "\x02\x1b[31m", "\u2028", "$x_1$"),
    *("<script>", "![t](http://127.0.0.1:9/x)", "[c](javascript:alert(1))", "|", "`", "\n:red_circle: *x*", "'; drop"),
    *("\ud800", "eyJhbGciOiJub25lIn0.e30.", "..", "A" * 300, '\\"' * 40, "{" * 60, "9" * 400),
]
_NUMBERS = [0, -1, 0.5, 1e308, 1e-320, 2**53 + 1, 2**63, -(2**70), 10**60, 10**90]
_TIMES: list[Json] = [
    *(
        1769590000.25,
        1769590000250,
        "1769590000.25",
        "2026-01-28T08:00:00Z",
        "2026-01-28 08:00:00+00",
        "20260128T080000Z",
    ),
    *(0, 1e9, 1769590.0, 2085123400.0, "9999-12-31T23:59:59Z", "soon", "", None, True, [], {}, -5e-7, 1e300),
]
_KEYS = [
    "uuid",
    "id",
    "event_type",
    "trigger_type",
    "data",
    "created_at",
    "embed_id",
    "template_key",
    "token",
    "user_jwt",
]


@dataclass(frozen=True)
class Hostile:
    """A body; `events` are those that a reader of JSON finds in it, None where it is not JSON."""

    body: bytes
    events: int | None
    headers: dict[str, str] = field(default_factory=dict[str, str])


def _value(draw: Random, depth: int = 0) -> Any:
    kind = draw.randrange(9 if depth < 4 else 6)
    if kind < 2:
        return draw.choice(_TEXTS)
    if kind < 4:
        return draw.choice(_NUMBERS)
    if kind < 6:
        return draw.choice([None, True, False])
    if kind == 6:
        return [_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 7 and depth == 0 and draw.random() < 0.1:
        # Deep, and long before it is looked at.
        nested: Any = 1
        for _ in range(draw.choice([90, 150, 400])):
            nested = [nested] if draw.random() < 0.5 else {"k": nested}
        return nested
    return {draw.choice(_TEXTS): _value(draw, depth + 1) for _ in range(draw.randrange(4))}


def event(draw: Random, number: int) -> dict[str, Any]:
    """An event that no other equals: its number stands in it, whatever else does."""
    made: dict[str, Any] = {
        "uuid": f"event-{number}",
        "id": number,
        "embed_id": draw.choice([number % 50 + 1, str(number % 50 + 1)]),
        "event_type": draw.choice(["embed_initialized", "columns_mapped", "sheet_operation_performed", *_TEXTS[:8]]),
        "trigger_type": "user",
        "created_at": draw.choice(_TIMES),
        "note": number,
    }
    if draw.random() < 0.5:
        made["data"] = draw.choice(
            [{}, {"operation": draw.choice(_TEXTS)}, {"validation_error_counts": _value(draw)}, _value(draw)]
        )
    for _ in range(draw.choice([0, 0, 1, 3])):
        # The uuid stays a text in most, so that most are rows.
        made[draw.choice(_KEYS[1:] if draw.random() < 0.9 else _KEYS)] = _value(draw)
    if draw.random() < 0.2:
        segment = base64.urlsafe_b64encode(json.dumps({"alg": "HS256"}).encode()).rstrip(b"=").decode()
        claims = base64.urlsafe_b64encode(json.dumps(_value(draw)).encode()).rstrip(b"=").decode()
        made["embed_jwt"] = draw.choice([f"{segment}.{claims}.sig", draw.choice(_TEXTS), _value(draw)])
    return made


def _packed(draw: Random, body: bytes, events: int) -> Hostile:
    """A readable body as some sender would write it."""
    kind = draw.randrange(8)
    if kind == 0:
        return Hostile(gzip.compress(body, mtime=0), events, {"Content-Encoding": "gzip"})
    if kind == 1:
        return Hostile(zlib.compress(body), events, {"Content-Encoding": "deflate"})
    return Hostile(_BOM + body if kind == 2 else body, events)


def _broken(draw: Random, body: bytes) -> bytes:
    """Not JSON any more, whatever the body was."""
    kind = draw.randrange(5)
    if kind == 0 and len(body) > 2:
        return body[: draw.randrange(1, len(body) - 1)]
    if kind == 1:
        return body + draw.choice([b"}", b"]", b",", b"\x00", b'"'])
    if kind == 2:
        return b'{"uuid":"event-' + b'\\"' * draw.choice([1, 1_000, 20_000])
    if kind == 3:
        return b"[" * draw.choice([1, 500, 20_000])
    return bytes(draw.randrange(256) for _ in range(draw.randrange(1, 200))) + b"\xff{"


def answer(draw: Random, first: int) -> Hostile:
    """What the API may answer for an embed's events: an array, or nothing that is JSON. `first` numbers its events."""
    events = [event(draw, first + number) for number in range(draw.randrange(5))]
    body = json.dumps(events, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    if draw.random() < 0.2:
        return Hostile(_broken(draw, body), None)
    return _packed(draw, body, len(events))


def push(draw: Random, number: int) -> Hostile:
    """What a webhook may be sent."""
    body = json.dumps(event(draw, number), ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    if draw.random() < 0.3:
        return Hostile(_broken(draw, body), None)
    return _packed(draw, body, 1)
