"""A line of the journal: one received event without credentials, its token's reading, and a checksum over both.

    <CRC-32, 8 hex digits> TAB
    <JSON [received_at, claims, jwt_status, fingerprint, claim policy]> TAB
    <the event's JSON> LF

JSON writes no raw tab or line feed, so a line is one event whatever is in it, and a line without its line feed is one
that its writer did not live to finish. received_at is in microseconds since 1970. The policy is the one that the claims
have been through: a refresh may have another.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from pipelines.oneschema.credentials import may_hold_credentials, without_credentials
from pipelines.oneschema.json_text import dumps, loads
from pipelines.oneschema.tokens import ReadToken, TokenReader
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS

_TOKEN = "embed_jwt"
_CREDENTIAL_NAMES = [name.encode() for name in CREDENTIAL_FIELDS]


@dataclass(frozen=True)
class Record:
    """One received event as the journal holds it. `received_at` is in microseconds since 1970; the token was read
    under `claim_policy`."""

    received_at: int
    token: ReadToken
    claim_policy: dict[str, str]
    event: Any


def encode(event: dict[str, Any], received_at: int, tokens: TokenReader) -> bytes:
    """The journal's line of a decoded event. No credential that came with the event is in it."""
    token = event.get(_TOKEN)
    read = tokens.read(token)
    body = _without_credentials(event, token)
    head = orjson.dumps((received_at, read.claims, read.jwt_status, read.fingerprint, tokens.claim_policy))
    content = b"%b\t%b" % (head, body)
    return b"%08x\t%b\n" % (zlib.crc32(content), content)


def decode(line: bytes) -> Record | None:
    """The record of a whole line; None where its checksum does not fit."""
    checksum, _, content = line.removesuffix(b"\n").partition(b"\t")
    if checksum != b"%08x" % zlib.crc32(content):
        return None
    head, _, body = content.partition(b"\t")
    received_at, claims, jwt_status, fingerprint, claim_policy = orjson.loads(head)
    return Record(received_at, ReadToken(claims, jwt_status, fingerprint), claim_policy, loads(body))


def _without_credentials(event: dict[str, Any], token: object) -> bytes:
    """What `without_credentials` leaves of the event, as JSON; in the plain case, without the walk through it."""
    if token is None or isinstance(token, str):
        plain = event.copy()
        plain.pop(_TOKEN, None)
        body = _json(plain)
        if _is_plain(body, token):
            return body
    return _json(without_credentials(event))


def _is_plain(body: bytes, token: str | None) -> bool:
    """That neither a credential nor the token is in an event's JSON; slow looks are spared where they find nothing."""
    # No JWT without two dots, neither this one nor another.
    has_jwt_shape = body.count(b".") >= 2
    if (has_jwt_shape or _names_credential(body.lower())) and may_hold_credentials(body):
        return False
    # A token's repetition has its JSON form there: JSON escapes character by character.
    return not token or (not has_jwt_shape and token.count(".") >= 2) or _json(token)[1:-1] not in body


def _names_credential(lowered: bytes) -> bool:
    for name in _CREDENTIAL_NAMES:  # noqa: SIM110 - any() takes as long again as the search itself
        if name in lowered:
            return True
    return False


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # Integers beyond 64 bits.
        return dumps(value).encode()
