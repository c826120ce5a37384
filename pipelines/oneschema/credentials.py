"""Removes credentials from everything that is about to be written, by field name and by shape.

A field of `CREDENTIAL_FIELDS` is removed whole, whatever the case of its name. A text that has the shape of a JWT, and
any repetition of a removed value, becomes `REMOVED`. So an event without its credentials is the same for every token
that it was fetched with, which its digest relies on.
"""

import json
import re

import orjson

from pipelines.oneschema.json_text import Json, canonical, dumps, storable
from pipelines.oneschema.jwt_segments import segment_bytes
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS

REMOVED = "<credential removed>"

# A removed value shorter than this is not looked for elsewhere, because it would match ordinary words.
_SHORTEST_SECRET = 8
# Up to this many removed values are looked for one by one. With more, that would take time quadratic in the event's
# length, so any text that holds the beginning of one of them is removed whole.
_MOST_SECRETS = 20

_BASE64 = r"A-Za-z0-9_+/\-"
# A text that could hold a JWT, and the beginning of a header's JSON.
_DOTTED = re.compile(rf"[{_BASE64}=.]+")
_OBJECT_START = re.compile(r"\{[\s\"]")
_ESCAPE = re.compile(r"\\[\\\"]")
_STRING_OR_BRACKET = re.compile(r'"[^"]*+"?|[\[\]{}]')
_JSON_SPACE = " \t\n\r"
# Numbers stay text: Python refuses to read very long ones.
_JSON = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)

# A cheap look for a JWT: base64url of an object's start, and three segments. Each run of letters is tried only from its
# start. Trying it from each of its letters would take time quadratic in the length of the run.
_TWO_DOTS = re.compile(rf"\.[{_BASE64}=]*\.[{_BASE64}]".encode())
_JWT_SHAPE = re.compile(
    rf"(?<![{_BASE64}])(?>[{_BASE64}]*?e[yw])[{_BASE64}]{{2,}}+=*+\.[{_BASE64}=]*+\.[{_BASE64}]".encode()
)
_QUOTED_FIELDS = tuple(f'"{field}"'.encode() for field in sorted(CREDENTIAL_FIELDS))


def may_hold_credentials(json_text: bytes) -> bool:
    """A cheap look at a JSON text. False means that `without_credentials` would change nothing."""
    lower = json_text.lower()
    for field in _QUOTED_FIELDS:
        if field in lower:
            return True
    # Counting dots is the cheapest look of all. Most events have at most one, in their created_at.
    return (
        json_text.count(b".") >= 2
        and _TWO_DOTS.search(json_text) is not None
        and _JWT_SHAPE.search(json_text) is not None
    )


def strip_credentials(event: Json) -> tuple[Json, bytes]:
    """A decoded event without credentials, everything in it storable, and its canonical JSON.

    Both are the same whatever the credentials were. The cheap look may clear an event or not depending on its
    credentials, so the thorough way must give the same text.
    """
    kept = event
    removed: list[Json] = []
    if type(event) is dict and not CREDENTIAL_FIELDS.isdisjoint(event):
        # Every webhook's event has such a field at its top level. Removing that one needs no walk through the others.
        kept = event.copy()
        removed = [kept.pop(field) for field in CREDENTIAL_FIELDS if field in kept]
    try:
        text = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        kept = without_credentials(storable(event))
        return kept, dumps(kept).encode()
    is_clear = not may_hold_credentials(text)
    for secret in removed:
        is_clear = is_clear and not _may_repeat(secret, text)
    if is_clear:
        return kept, text
    kept = without_credentials(event)
    return kept, canonical(kept)


def _may_repeat(secret: Json, json_text: bytes) -> bool:
    """Whether a removed value may occur elsewhere in the event. For a value that is not a text, this is always so."""
    if not isinstance(secret, str):
        return secret is not None
    # A JWT cannot occur in a text without two dots.
    if not secret or (secret.count(".") >= 2 and json_text.count(b".") < 2):
        return False
    try:
        # JSON escapes character by character, so a repetition appears in its JSON form.
        return orjson.dumps(secret)[1:-1] in json_text
    except TypeError:
        return True


def without_credentials(value: Json) -> Json:
    """A copy of a decoded value without credentials at any depth. The value may nest some hundred levels."""
    secrets: set[str] = set()
    _collect(value, secrets)
    return _scrub(value, _Secrets(secrets), in_counts=False)


def _is_credential(key: str, value: Json, *, in_counts: bool) -> bool:
    if key.lower() not in CREDENTIAL_FIELDS:
        return False
    # A template column may be called `token`. Below validation_error_counts, its value is an object of counts.
    return not (
        in_counts and isinstance(value, dict) and not any(isinstance(v, str | dict | list) for v in value.values())
    )


def _collect(value: Json, secrets: set[str], *, is_secret: bool = False) -> None:
    if isinstance(value, str):
        if is_secret and len(value) >= _SHORTEST_SECRET:
            secrets.add(value)
    elif isinstance(value, list):
        for element in value:
            _collect(element, secrets, is_secret=is_secret)
    elif isinstance(value, dict):
        for key, element in value.items():
            _collect(element, secrets, is_secret=is_secret or key.lower() in CREDENTIAL_FIELDS)


class _Secrets:
    """The values of an event's credential fields, to be removed wherever else they occur in it."""

    def __init__(self, secrets: set[str]) -> None:
        # A secret may be part of a longer one.
        self._secrets = sorted(secrets, key=lambda secret: (-len(secret), secret))
        self._beginnings: set[str] = set()
        if len(secrets) > _MOST_SECRETS:
            self._beginnings = {secret[:_SHORTEST_SECRET] for secret in secrets}

    def without(self, text: str) -> str:
        """The text with REMOVED in place of each secret. The time does not grow with the number of secrets."""
        if self._beginnings:
            pieces = (text[start : start + _SHORTEST_SECRET] for start in range(len(text) - _SHORTEST_SECRET + 1))
            return text if self._beginnings.isdisjoint(pieces) else REMOVED
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REMOVED)
        return text


def _scrub(value: Json, secrets: _Secrets, *, in_counts: bool) -> Json:
    if isinstance(value, str):
        return _scrub_text(value, secrets)
    if isinstance(value, list):
        return [_scrub(element, secrets, in_counts=False) for element in value]
    if isinstance(value, dict):
        kept: dict[str, Json] = {}
        for key, element in value.items():
            if not _is_credential(key, element, in_counts=in_counts):
                kept[_scrub_text(key, secrets)] = _scrub(element, secrets, in_counts=key == "validation_error_counts")
        return kept
    return value


def _scrub_text(text: str, secrets: _Secrets) -> str:
    # A number kept as JsonText holds no credential and must stay a number.
    if not text or (text[0] in "-0123456789" and type(text) is not str):
        return text
    text = secrets.without(text)
    return _DOTTED.sub(_without_jwts, text) if text.count(".") >= 2 else text


def _without_jwts(dotted: re.Match[str]) -> str:
    """A dotted text with REMOVED in place of each JWT, whatever comes before its header."""
    segments = dotted.group().split(".")
    kept: list[str] = []
    position = 0
    while position < len(segments):
        is_followed = "".join(segments[position + 2 : position + 3])[:1] not in ("", "=")
        start = _header_start(segments[position]) if is_followed else None
        kept.append(segments[position] if start is None else segments[position][:start] + REMOVED)
        position += 1 if start is None else 3
    return ".".join(kept)


def _header_start(segment: str) -> int | None:
    """Where a JWT header begins that ends with the segment. Letters of base64url may come before it."""
    if "ey" not in segment and "ew" not in segment:
        return None
    first = segment.rstrip("=").rfind("=") + 1
    starts: list[int] = []
    # Four letters are three bytes, so four decodings cover every letter at which a header may begin.
    for start in range(first, first + 4):
        # latin-1 gives one character per byte. Only brackets and quotes matter here.
        text = (segment_bytes(segment[start:]) or b"").decode("latin-1")
        at = _last_object(text)
        if at is not None and at % 3 == 0:
            starts.append(start + at // 3 * 4)
    return min(starts, default=None)


def _last_object(text: str) -> int | None:
    """Where the JSON object begins with which a text ends. None if it does not end with an object.

    Read backwards, only one bracket can open the last object. Trying each bracket would take time quadratic in the
    length of the text.
    """
    text = text.rstrip(_JSON_SPACE)
    if not text.endswith("}"):
        return None
    backwards = _ESCAPE.sub("..", text)[::-1]
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(backwards):
        mark = backwards[found.start()]
        if mark != '"':
            depth += 1 if mark in "}]" else -1
        if depth == 0:
            start = len(text) - found.end()
            return start if _OBJECT_START.match(text, start) and _is_object(text, start) else None
    return None


def _is_object(text: str, start: int) -> bool:
    """Whether the text from `start` to its end is one JSON object."""
    try:
        _, end = _JSON.raw_decode(text, start)
    except ValueError:
        return False
    except RecursionError:
        return True
    return end == len(text)
