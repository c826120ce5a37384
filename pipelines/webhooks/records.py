"""A line of the journal: one received event without credentials, its token's reading, and a checksum over both.

    <CRC-32, 8 hex digits> TAB
    <JSON [received_at, claims, jwt_status, fingerprint, claim policy]> TAB
    <the event's JSON> LF

JSON writes no raw tab or line feed, so a line is one event whatever is in it. A line without its line feed is
unfinished: its writer was killed. received_at is in microseconds since 1970. The policy is the one that the claims
have been through: a refresh may have another.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from pipelines.oneschema.credentials import strip_credentials
from pipelines.oneschema.event_fields import TOKEN_FIELD
from pipelines.oneschema.json_text import loads
from pipelines.oneschema.tokens import ReadToken, TokenReader


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
    read = tokens.read(event.get(TOKEN_FIELD))
    _, body = strip_credentials(event)
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
