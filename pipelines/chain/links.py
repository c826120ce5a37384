"""The lines of the chain.

A link is one line of JSON in UTF-8. Its digest is the SHA-256 of the line without its line feed, and the next link
holds it as `previous`. So whoever knows the digest of one link, the chain's head then, knows all before it.

Every link has `number` (0, 1, ...), `kind`, `at` (UTC, by this machine's clock) and `previous` (hex; 64 zeros in the
first one). What else it has goes by its kind: see KINDS.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, cast

import orjson

FIRST_PREVIOUS = "0" * 64

KINDS = {
    "landed": "A file that came into raw. path (below the home), rows, root (of the Merkle tree of its rows' texts), "
    "bytes, sha256 (of the file), sweep (that landed it).",
    "found": "A file that was in raw without a link. As landed; reason, and by whom where a person accepted it. "
    "rows and root are null where the file could not be read.",
    "replaced": "A file of raw was written again with other bytes. As landed; replaces (the link's number of the file "
    "that it stands for), reason.",
    "expired": "A file of raw was removed by a setting. path, rows, sha256, landed (its link's number), reason.",
    "segment": "A segment of the webhook journal landed as a whole and was removed. path, bytes, sha256; its events "
    "are in files whose rows have its name as sweep_id.",
    "signature": "The head before this link was signed. key (Ed25519 public key, hex), signature (hex, over the 32 "
    "bytes of `previous`).",
    "timestamp": "An authority signed that the head before this link existed. token (RFC 3161 response, base64), over "
    "the 32 bytes of `previous` (SHA-256 of them).",
    "access": "A person used a command on evidence. details (SHA-256 of `raw/access/<details>.json`, which says who, "
    "why and about what).",
    "pack": "An evidence pack was made. access (the number of the link of who asked for it), members (SHA-256 of its "
    "files by their names).",
}
"""Every kind of link: what it says, and which facts it has."""


class BrokenLinkError(ValueError):
    """A line is not a link. The message says why."""


@dataclass(frozen=True)
class Head:
    """Where a chain ends: how many links it has, and the digest of the last one (hex)."""

    count: int
    digest: str

    @property
    def digest_bytes(self) -> bytes:
        return bytes.fromhex(self.digest)


EMPTY = Head(0, FIRST_PREVIOUS)


@dataclass(frozen=True)
class Link:
    """A link that stands in a chain. `line` has no line feed."""

    number: int
    kind: str
    at: str
    previous: str
    facts: dict[str, Any]
    line: bytes

    @property
    def head(self) -> Head:
        """The chain's head when this link was its last one."""
        return Head(self.number + 1, hashlib.sha256(self.line).hexdigest())


def make(kind: str, facts: dict[str, Any], at: str, head: Head) -> Link:
    """The link that follows `head`."""
    assert kind in KINDS, kind
    content = {"number": head.count, "kind": kind, "at": at, **facts, "previous": head.digest}
    return Link(head.count, kind, at, head.digest, facts, orjson.dumps(content))


def read(line: bytes) -> Link:
    """The link of a line without its line feed. Raises BrokenLinkError."""
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BrokenLinkError(f"is not JSON ({error.msg})") from None
    if not isinstance(content, dict):
        raise BrokenLinkError("is not a JSON object")
    content = cast("dict[str, Any]", content)
    number, kind, at, previous = (content.pop(name, None) for name in ("number", "kind", "at", "previous"))
    if type(number) is not int or not isinstance(kind, str) or not isinstance(at, str) or not isinstance(previous, str):
        raise BrokenLinkError("does not have number, kind, at and previous")
    return Link(number, kind, at, previous, content, line)
