"""A line of the journal: one received delivery without credentials, what was read of its token, and a checksum of both.

    <CRC-32, 8 hex digits> TAB
    <JSON [received_at, claims, jwt_status, fingerprint, claim policy, unreadable body, matched patterns]> TAB
    <the event's JSON> LF

For a body that could not be read, the first JSON has an UnreadableBody without its text. That text, or null, then takes
the place of the event. The matched patterns are those of the claim policy that have fitted a claim of any token so far:
claims that it dropped are no longer there to show it. Elements at the end that are null are left out.

A line may instead say how many events were refused in an hour, and why: then the first JSON ends with {reason, count},
received_at is when that hour began, and null takes the place of the event.

JSON writes no raw tab or line feed, so a line is one event whatever is in it. A line without its line feed is
unfinished, because its writer was killed. received_at is in microseconds since 1970. The claim policy is the one
already applied to the claims. A refresh may have another.
"""

import re
import zlib
from dataclasses import asdict, dataclass, replace

import orjson

from pipelines.oneschema.credentials import strip_credentials
from pipelines.oneschema.event_fields import TOKEN_FIELD
from pipelines.oneschema.json_text import Json, loads
from pipelines.oneschema.tokens import MISSING, ReadToken, TokenReader
from pipelines.raw.unreadable import UnreadableBody

_BEGINNING = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8}\t(\[[^\x00]*)?")


@dataclass(frozen=True)
class Record:
    """One received delivery as the journal holds it. `received_at` is in microseconds since 1970. The token was read
    under `claim_policy`, and `matched_patterns` of it have fitted a claim of this token or of earlier ones. An
    unreadable body has no event, and neither has a refusal."""

    received_at: int
    token: ReadToken
    claim_policy: dict[str, str]
    event: Json
    unreadable: UnreadableBody | None = None
    matched_patterns: tuple[str, ...] = ()
    refusal: "Refusal | None" = None


@dataclass(frozen=True)
class Refusal:
    """How many events were refused, and why, in the hour that began at the record's `received_at`."""

    reason: str
    count: int


def encode(event: Json, received_at: int, tokens: TokenReader) -> bytes:
    """The journal line of a decoded event, or of any other JSON. It holds none of the event's credentials."""
    read = tokens.read(event.get(TOKEN_FIELD) if type(event) is dict else None)
    _, body = strip_credentials(event, tokens.known_secrets)
    return _line(received_at, read, tokens, None, body)


def encode_unreadable(body: UnreadableBody, received_at: int, tokens: TokenReader) -> bytes:
    """The journal line of a body that could not be read."""
    facts = asdict(replace(body, text=None))
    return _line(received_at, MISSING, tokens, facts, orjson.dumps(body.text))


def encode_refusal(refusal: Refusal, hour_began_at: int) -> bytes:
    """The journal line of a refusal."""
    return _checked([hour_began_at, None, MISSING.jwt_status, None, {}, None, None, asdict(refusal)], b"null")


def _line(
    received_at: int, read: ReadToken, tokens: TokenReader, unreadable: dict[str, object] | None, body: bytes
) -> bytes:
    head: list[object] = [received_at, read.claims, read.jwt_status, read.fingerprint, tokens.claim_policy]
    matched = tokens.policy_matches.matched
    if unreadable is not None or matched:
        head.append(unreadable)
    if matched:
        head.append(matched)
    return _checked(head, body)


def _checked(head: list[object], body: bytes) -> bytes:
    content = b"%b\t%b" % (orjson.dumps(head), body)
    return b"%08x\t%b\n" % (zlib.crc32(content), content)


def is_torn(unfinished: bytes) -> bool:
    """Whether these bytes without a line feed are what a killed writer leaves, the beginning of a line: not a line
    whose line feed was changed, nor anything that no writer has begun."""
    return _BEGINNING.fullmatch(unfinished) is not None and decode(unfinished[:-1]) is None


def decode(line: bytes) -> Record | None:
    """The record of a whole line. None if its checksum does not match."""
    checksum, _, content = line.removesuffix(b"\n").partition(b"\t")
    if checksum != b"%08x" % zlib.crc32(content):
        return None
    head, _, body = content.partition(b"\t")
    received_at, claims, jwt_status, fingerprint, claim_policy, *rest = orjson.loads(head)
    facts, matched, refused = (*rest, None, None, None)[:3]
    event = loads(body)
    unreadable = replace(UnreadableBody(**facts), text=event) if facts else None
    token = ReadToken(claims, jwt_status, fingerprint)
    refusal = Refusal(**refused) if refused else None
    return Record(received_at, token, claim_policy, None if facts else event, unreadable, tuple(matched or ()), refusal)
