"""Removes credentials from everything that is about to be written: by field name, by shape, and by what is known.

A field of `CREDENTIAL_FIELDS` is removed whole, whatever the case of its name. In any other text these become
`REMOVED`, in each spelling that `known_secrets` lists: JWTs, repetitions of a removed value, the secrets of the
settings, the token of the embed, and any uuid behind a name or a parameter with `token` in it. So an event without its
credentials is the same for every token that it was fetched with, which its digest relies on.
"""

import json
import re
from collections.abc import Iterable

import orjson

from pipelines.oneschema.json_text import Json, canonical, dumps, storable
from pipelines.oneschema.jwt_segments import segment_bytes
from pipelines.oneschema.known_secrets import (
    NO_SECRETS,
    SHORTEST_ENCODED,
    SHORTEST_ENCODED_UUID,
    SHORTEST_SECRET,
    UUID,
    KnownSecrets,
    decodings,
    may_hide,
    may_repeat,
    unescaped,
    uuid_fingerprint,
    uuids_in,
)
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS, CREDENTIAL_FIELDS_BELOW

REMOVED = "<credential removed>"

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
_QUOTED_FIELDS = tuple(f'"{field}"'.encode() for field in sorted({*CREDENTIAL_FIELDS, *CREDENTIAL_FIELDS_BELOW}))

_ENCODED = re.compile(rf"[{_BASE64}]{{{SHORTEST_ENCODED},}}+={{0,2}}")
_UUID = re.compile(UUID)
# The parts of a name that is `token`, or has it in it, up to the value.
_TOKEN_UUID = re.compile(
    rf"(token[\w\-]{{0,20}}[\"'\\\]]{{0,3}}\s{{0,3}}[=:/]\s{{0,3}}[\"'\\]{{0,3}}){UUID}", re.IGNORECASE
)


def may_hold_credentials(
    json_text: bytes, known: KnownSecrets = NO_SECRETS, embed_token_fingerprint: str | None = None
) -> bool:
    """A cheap look at a JSON text. False means that `without_credentials` would change nothing."""
    lower = json_text.lower()
    for field in _QUOTED_FIELDS:
        if field in lower:
            return True
    if may_hide(json_text) or known.may_stand_in(json_text):
        return True
    names_a_token = b"token" in lower
    if names_a_token or embed_token_fingerprint:
        for uuid, is_events in uuids_in(json_text):
            # An event's own uuid is not its embed's token. This saves nearly every event a hash.
            if names_a_token or (not is_events and uuid_fingerprint(uuid) == embed_token_fingerprint):
                return True
    # Counting dots is the cheapest look of all. Most events have at most one, in their created_at.
    return (
        json_text.count(b".") >= 2
        and _TWO_DOTS.search(json_text) is not None
        and _JWT_SHAPE.search(json_text) is not None
    )


def strip_credentials(
    event: Json, known: KnownSecrets = NO_SECRETS, embed_token_fingerprint: str | None = None
) -> tuple[Json, bytes]:
    """A decoded event without credentials, everything in it storable, and its canonical JSON.

    `embed_token_fingerprint` is that of its embed's token (`known_secrets.fingerprint_of_uuid`).

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
        kept = without_credentials(storable(event), known, embed_token_fingerprint)
        return kept, dumps(kept).encode()
    is_clear = not may_hold_credentials(text, known, embed_token_fingerprint)
    for secret in removed:
        is_clear = is_clear and not _may_repeat(secret, text)
    if is_clear:
        return kept, text
    kept = without_credentials(event, known, embed_token_fingerprint)
    return kept, canonical(kept)


def _may_repeat(secret: Json, json_text: bytes) -> bool:
    """Whether a removed value may occur elsewhere in the event. For a value that is not a text, this is always so."""
    if not isinstance(secret, str):
        return secret is not None
    # A JWT cannot occur in a text without two dots. In base64 it is a long run, which is looked at in any case.
    is_jwt = len(secret) >= SHORTEST_ENCODED_UUID and secret.count(".") >= 2
    if len(secret) < SHORTEST_SECRET or (is_jwt and json_text.count(b".") < 2):
        return False
    try:
        return may_repeat(secret, json_text)
    except UnicodeEncodeError:
        return True


def without_credentials(
    value: Json, known: KnownSecrets = NO_SECRETS, embed_token_fingerprint: str | None = None
) -> Json:
    """A copy of a decoded value without credentials at any depth. The value may nest some hundred levels."""
    secrets: set[str] = set()
    _collect(value, secrets, CREDENTIAL_FIELDS)
    return _Scrubber(_Secrets(secrets, known), embed_token_fingerprint).scrub(value, CREDENTIAL_FIELDS)


def text_without_credentials(text: str, known: KnownSecrets, secrets: Iterable[str] = ()) -> str:
    """A text by itself without credentials: the known ones and `secrets`, unless too short to be looked for."""
    wanted = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
    return _Scrubber(_Secrets(wanted, known), None).text(text, names_a_token=False)


def _collect(value: Json, secrets: set[str], fields: frozenset[str], *, is_secret: bool = False) -> None:
    if isinstance(value, str):
        if is_secret and len(value) >= SHORTEST_SECRET:
            secrets.add(value)
    elif isinstance(value, list):
        for element in value:
            _collect(element, secrets, fields, is_secret=is_secret)
    elif isinstance(value, dict):
        for key, element in value.items():
            name = key.lower()
            _collect(element, secrets, _fields_below(name, fields), is_secret=is_secret or name in fields)


def _fields_below(name: str, fields: frozenset[str]) -> frozenset[str]:
    """The names of credential fields below one of this name."""
    return fields | CREDENTIAL_FIELDS_BELOW[name] if name in CREDENTIAL_FIELDS_BELOW else fields


class _Secrets:
    """What is removed wherever it occurs: the values of an event's credential fields, and what is known."""

    def __init__(self, secrets: set[str], known: KnownSecrets) -> None:
        self._beginnings: set[str] = set()
        if len(secrets) > _MOST_SECRETS:
            self._beginnings = {secret[:SHORTEST_SECRET] for secret in secrets}
            secrets = set()
        # A secret may be part of a longer one.
        self._secrets = sorted(secrets | known.texts, key=lambda secret: (-len(secret), secret))

    def __bool__(self) -> bool:
        return bool(self._beginnings or self._secrets)

    def without(self, text: str) -> str:
        """The text with REMOVED in place of each secret. The time does not grow with the number of secrets."""
        if self._beginnings:
            pieces = (text[start : start + SHORTEST_SECRET] for start in range(len(text) - SHORTEST_SECRET + 1))
            if not self._beginnings.isdisjoint(pieces):
                return REMOVED
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REMOVED)
        return text


class _Scrubber:
    def __init__(self, secrets: _Secrets, embed_token_fingerprint: str | None) -> None:
        self._secrets = secrets
        self._embed_token_fingerprint = embed_token_fingerprint

    def scrub(
        self, value: Json, fields: frozenset[str], *, below_counts: bool = False, names_a_token: bool = False
    ) -> Json:
        """`fields` are the credential fields here; `below_counts` is in validation_error_counts."""
        if isinstance(value, str):
            # A number kept as JsonText has no credential in it and must stay one.
            is_number = type(value) is not str and value[:1] in "-0123456789"
            return value if is_number else self.text(value, names_a_token)
        if isinstance(value, list):
            return [self.scrub(element, fields, names_a_token=names_a_token) for element in value]
        if not isinstance(value, dict):
            return value
        kept: dict[str, Json] = {}
        for key, element in value.items():
            name = key.lower()
            # A template column may be called `token`.
            if name not in fields or (below_counts and _is_object_of_counts(element)):
                kept[self.text(key, names_a_token)] = self.scrub(
                    element,
                    _fields_below(name, fields),
                    below_counts=key == "validation_error_counts",
                    names_a_token=names_a_token or "token" in name,
                )
        return kept

    def text(self, text: str, names_a_token: bool) -> str:
        # First what is not in base64: a run of its letters may end in what is escaped.
        for without in (self._plain, self._decoded):
            text = without(text, names_a_token)
            plain = unescaped(text)
            if plain != text and (found := without(plain, names_a_token)) != plain:
                text = found
        return text

    def _decoded(self, text: str, names_a_token: bool) -> str:
        """The text without the runs of base64's letters that a credential is encoded in."""

        def without_encoded(run: re.Match[str]) -> str:
            letters = run.group()
            is_long = len(letters) >= SHORTEST_ENCODED_UUID
            if is_long or self._secrets:
                for decoded in decodings(letters):
                    found = self._plain(decoded, names_a_token) if is_long else self._secrets.without(decoded)
                    if found != decoded:
                        return REMOVED
            return letters

        return text if len(text) < SHORTEST_ENCODED else _ENCODED.sub(without_encoded, text)

    def _plain(self, text: str, names_a_token: bool) -> str:
        text = self._secrets.without(text)
        if text.count("-") >= 4:
            text = _TOKEN_UUID.sub(rf"\1{REMOVED}", text)
            text = _UUID.sub(lambda uuid: self._uuid(uuid.group(), names_a_token), text)
        return _DOTTED.sub(_without_jwts, text) if text.count(".") >= 2 else text

    def _uuid(self, uuid: str, names_a_token: bool) -> str:
        is_token = names_a_token or (
            self._embed_token_fingerprint is not None and uuid_fingerprint(uuid) == self._embed_token_fingerprint
        )
        return REMOVED if is_token else uuid


def _is_object_of_counts(value: Json) -> bool:
    return isinstance(value, dict) and not any(isinstance(count, str | dict | list) for count in value.values())


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
