"""Verifies an evidence pack as docs/evidence.md describes it, by somebody who has neither the project nor verify.py."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BOUND = ("about.json", "access.json", "rows.jsonl", "proofs.json", "session.html", "session.txt", "verify.py")

Members = list[tuple[str, bytes]]


def members_of(pack: Path) -> Members:
    with zipfile.ZipFile(pack) as file:
        return [(info.filename, file.read(info)) for info in file.infolist()]


def problem_of(members: Members, head: str | None = None, key: str | None = None) -> str | None:
    """What is wrong with a pack; None where it holds."""
    try:
        return _problem(members, head, key)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"another form: {error!r}"


def _problem(members: Members, known_head: str | None, known_key: str | None) -> str | None:
    if [name for name, _ in members] != [*BOUND, "links.jsonl", "heads.json"]:
        return "other members"
    content = dict(members)
    *lines, rest = content["links.jsonl"].split(b"\n")
    heads = [hashlib.sha256(line).hexdigest() for line in lines]
    in_order = list(map(json.loads, lines))
    for place, link in enumerate(in_order[1:]):
        if link["number"] != in_order[place]["number"] + 1 or link["previous"] != heads[place]:
            return "broken chain"
    links = {link["number"]: link for link in in_order}
    sealed = max(number for number, link in links.items() if link["kind"] != "signature")
    return (
        ("half a line" if rest else None)
        or _problem_of_heads(content["heads.json"], links, heads[-1])
        or _problem_of_members(content, links, links[sealed])
        or _problem_of_rows(content, links)
        or _problem_of_signatures(links, sealed, known_key)
        or ("another chain" if known_head is not None and known_head not in heads else None)
    )


def _problem_of_heads(content: bytes, links: dict[int, dict[str, Any]], head: str) -> str | None:
    expected = {
        "head": {"digest": head, "link": max(links)},
        "signatures": {link["key"]: number for number, link in links.items() if link["kind"] == "signature"},
        "timestamps": {link["previous"]: link["token"] for link in links.values() if link["kind"] == "timestamp"},
    }
    return None if content.decode() == json.dumps(expected, indent=1, sort_keys=True) + "\n" else "other heads"


def _problem_of_members(
    content: dict[str, bytes], links: dict[int, dict[str, Any]], pack: dict[str, Any]
) -> str | None:
    if pack["kind"] != "pack" or pack["members"] != {name: hashlib.sha256(content[name]).hexdigest() for name in BOUND}:
        return "a member that the chain does not name"
    access = links[pack["access"]]
    if access["kind"] != "access" or access["details"] != hashlib.sha256(content["access.json"]).hexdigest():
        return "another request"
    return None


def _problem_of_signatures(links: dict[int, dict[str, Any]], sealed: int, known_key: str | None) -> str | None:
    signatures = {number: link for number, link in links.items() if link["kind"] == "signature"}
    for link in signatures.values():
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(link["key"]))
            public.verify(bytes.fromhex(link["signature"]), bytes.fromhex(link["previous"]))
        except InvalidSignature:
            return "a signature that does not fit"
    over_all = [link["key"] for number, link in signatures.items() if number > sealed]
    return None if known_key is None or known_key in over_all else "not signed by that key"


def _problem_of_rows(content: dict[str, bytes], links: dict[int, dict[str, Any]]) -> str | None:
    embed_id = json.loads(content["about.json"])["embed_id"]
    rows, proofs = content["rows.jsonl"].split(b"\n"), json.loads(content["proofs.json"])
    if rows.pop() != b"" or len(rows) != len(proofs):
        return "rows without proofs"
    seen: set[tuple[str, int]] = set()
    for text, proof in zip(rows, proofs, strict=True):
        link = links[proof["link"]]
        if link["kind"] not in ("landed", "found", "replaced") or link["path"] != proof["file"]:
            return "a link of another file"
        if (proof["file"], proof["position"]) in seen:
            return "a place twice"
        seen.add((proof["file"], proof["position"]))
        if not _leads(text, proof["position"], link["rows"], proof["proof"], link["root"]):
            return "a row that is not in its file"
        row = json.loads(text)
        if row.get("embed_id") != embed_id and "embed_id" not in json.loads(row.get("odd", "{}")):
            return "a row of another session"
    return None


def _leads(text: bytes, position: int, count: int, proof: list[str], root: str) -> bool:
    """By recursion, as RFC 6962 defines a tree: the left part of n leaves is the largest power of two below n."""
    siblings = [bytes.fromhex(digest) for digest in proof]

    def reach(position: int, count: int) -> bytes:
        if count == 1:
            return hashlib.sha256(b"\0" + text).digest()
        left = 1 << (count - 1).bit_length() - 1
        if position < left:
            below = reach(position, left)
            return hashlib.sha256(b"\1" + below + siblings.pop(0)).digest()
        below = reach(position - left, count - left)
        return hashlib.sha256(b"\1" + siblings.pop(0) + below).digest()

    return 0 <= position < count and reach(position, count).hex() == root and not siblings
