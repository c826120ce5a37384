"""Verifies an evidence pack of embed-analytics: python3 verify.py PACK.zip [--head HEX] [--key HEX]

Python 3.9 or newer is enough. docs/evidence.md of embed-analytics describes the format: nobody has to trust this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
import zlib
from typing import Any

# The link of kind `pack` holds the digest of each of these.
BOUND = ["about.json", "access.json", "rows.jsonl", "proofs.json", "session.html", "session.txt", "verify.py"]
MEMBERS = [*BOUND, "links.jsonl", "heads.json"]
Link = dict[str, Any]


class BrokenPackError(ValueError):
    """The pack does not hold. The message says what."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Verifies an evidence pack.")
    parser.add_argument("pack", help="the zip")
    parser.add_argument("--head", metavar="HEX", help="a head of the chain that you know from elsewhere")
    parser.add_argument("--key", metavar="HEX", help="the public key (Ed25519) that has to have signed")
    options = parser.parse_args(arguments)
    try:
        lines = verify(read_members(options.pack), options.head, options.key)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        lines = [f"NOT OK: {error if isinstance(error, BrokenPackError) else f'it has another form ({error!r})'}"]
    for line in lines:
        # Text from outside may be meant for the terminal.
        sys.stdout.write("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) + "\n")
    return 1 if lines[-1].startswith("NOT OK") else 0


def read_members(pack: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(pack) as file:
            check(file.namelist() == MEMBERS, f"its files are not {', '.join(MEMBERS)}")
            return {name: file.read(name) for name in MEMBERS}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise BrokenPackError(f"{pack} cannot be read ({error})") from None


def verify(members: dict[str, bytes], known_head: str | None = None, key: str | None = None) -> list[str]:
    """What holds, in words. Raises BrokenPackError, and what Python raises for values of another form."""
    links, digests = read_links(members["links.jsonl"])
    check(members["heads.json"] == heads_of(links, digests), "heads.json does not follow from links.jsonl")
    by_number = {link["number"]: link for link in links}
    seal = next((link for link in reversed(links) if link["kind"] != "signature"), links[-1])
    check(seal["kind"] == "pack", "the last link but signatures is not of kind pack")
    check(set(seal["members"]) == set(BOUND), "the link of the pack names other files")
    for name in BOUND:
        check(sha256(members[name]) == seal["members"][name], f"{name} is not what the link of the pack names")
    access, about, asked = by_number[seal["access"]], *map(json.loads, (members["about.json"], members["access.json"]))
    is_access = access["kind"] == "access" and access["details"] == sha256(members["access.json"])
    check(is_access, "access.json is not what the link of who asked names")
    row_count = check_rows(members, by_number, about["embed_id"])
    told = [
        f"Session {about['embed_id']} of {about['organisation']}, by embed-analytics {about['code_version']}, for "
        f"{asked['user']}, who asked at {access['at']}: {asked['reason']}",
        f"Rows: each of the {row_count} is in the file of raw that its link names. Files that may hold more, and do "
        f"not prove it: {len(about['left_out'])} (see about.json).",
        f"Links: {links[0]['number']} to {links[-1]['number']}, in order. Their head vouches for all: {digests[-1]}",
        *check_signatures(links, seal["number"], key),
    ]
    if known_head is not None:
        check(known_head.lower() in digests, f"the head {known_head} is not in this part of the chain")
        place = links[digests.index(known_head.lower())]["number"]
        told.append(f"Known head: it is that of link {place}, and vouches for what is up to there.")
    stamps = sum(link["kind"] == "timestamp" for link in links)
    told.append(
        f"Not checked: {stamps} time-stamp tokens, and the home of the chain (`embed-analytics verify` does both); "
        "whether the page follows from the rows; whether the source told the truth."
    )
    hint = "" if known_head or key else ", in itself. Give --head or --key to hold it to something that you know"
    return [*told, f"OK{hint}."]


def check(holds: bool, problem: str) -> None:
    if not holds:
        raise BrokenPackError(problem)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_links(content: bytes) -> tuple[list[Link], list[str]]:
    *lines, rest = content.split(b"\n")
    check(bool(lines) and not rest, "links.jsonl does not end with a whole line")
    links, digests = [json.loads(line) for line in lines], [sha256(line) for line in lines]
    for before, digest, link in zip(links, digests, links[1:]):  # noqa: B905 - not in Python 3.9
        check(link["previous"] == digest, f"link {link['number']} does not hold the digest of the line before")
        check(link["number"] == before["number"] + 1, f"link {link['number']} follows link {before['number']}")
    return links, digests


def heads_of(links: list[Link], digests: list[str]) -> bytes:
    content: dict[str, Any] = {
        "head": {"digest": digests[-1], "link": links[-1]["number"]},
        "signatures": {link["key"]: link["number"] for link in links if link["kind"] == "signature"},
        "timestamps": {link["previous"]: link["token"] for link in links if link["kind"] == "timestamp"},
    }
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def check_rows(members: dict[str, bytes], by_number: dict[int, Link], embed_id: int) -> int:
    *rows, rest = members["rows.jsonl"].split(b"\n")
    proofs = json.loads(members["proofs.json"])
    check(bool(rows) and not rest and len(rows) == len(proofs), "proofs.json does not have a proof for each row")
    places = [(proof["file"], proof["position"]) for proof in proofs]
    check(places == sorted(set(places)), "the rows are not in the order of their places, or one is there twice")
    for number, text in enumerate(rows):
        proof, row = proofs[number], json.loads(text)
        link, name = by_number[proof["link"]], f"row {number + 1}"
        is_file = link["kind"] in ("landed", "found", "replaced") and link["path"] == proof["file"]
        check(is_file, f"{name}: link {link['number']} is not of {proof['file']}")
        reached = root(text, proof["position"], link["rows"], proof["proof"])
        check(reached == link["root"], f"{name} does not lead to the root in link {link['number']}")
        own = row.get("embed_id") == embed_id or "embed_id" in json.loads(row.get("odd", "{}"))
        check(own, f"{name} is of another session")
    return len(rows)


def root(text: bytes, position: int, count: int, proof: list[str]) -> str | None:
    """The root that a leaf leads to (RFC 9162, 2.1.3.2); None where its place and its proof do not fit."""
    last, reached = count - 1, hashlib.sha256(b"\x00" + text).digest()
    for sibling in map(bytes.fromhex, proof):
        check(last > 0, "a proof is too long")
        is_right = position % 2 == 1 or position == last
        reached = hashlib.sha256(b"\x01" + (sibling + reached if is_right else reached + sibling)).digest()
        while is_right and position % 2 == 0 and position > 0:
            position, last = position // 2, last // 2
        position, last = position // 2, last // 2
    return reached.hex() if position == last == 0 else None


def check_signatures(links: list[Link], seal: int, key: str | None) -> list[str]:
    signatures = [link for link in links if link["kind"] == "signature"]
    for link in signatures:
        signed = is_signed(*(bytes.fromhex(link[name]) for name in ("key", "signature", "previous")))
        check(signed, f"link {link['number']} does not sign the head before it")
    keys = [link["key"] for link in signatures if link["number"] > seal]
    check(key is None or key.lower() in keys, f"the key {key} did not sign the head of this pack")
    return [f"Signatures: {len(signatures)}. The head of this pack is signed by {' and '.join(keys) or 'nobody'}."]


# Ed25519 (RFC 8032, 5.1), to verify alone: nothing here is secret. A point is (X, Y, Z, T) in extended coordinates.
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT_OF_MINUS_1 = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    t, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, z - t, z + t, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def decoded(content: bytes) -> Point | None:
    y, sign = int.from_bytes(content, "little") % 2**255, content[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * ROOT_OF_MINUS_1 % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = x if x % 2 == sign else P - x
    return x, y, 1, x * y % P


def is_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    """As RFC 8032 verifies, and stricter: a key of small order, which would sign anything, signs nothing."""
    a, s = decoded(key) if len(key) == 32 else None, int.from_bytes(signature[32:], "little")
    if a is None or len(signature) != 64 or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    base, minus = decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or a, (-a[0] % P, a[1], 1, -a[3] % P)
    both, reached, eight = add(base, minus), (0, 1, 1, 0), a
    for bit in reversed(range(253)):
        reached = add(reached, reached)
        if s >> bit & 1 or h >> bit & 1:
            reached = add(reached, (both if h >> bit & 1 else base) if s >> bit & 1 else minus)
    for _ in range(3):
        eight = add(eight, eight)
    x, y = (value * pow(reached[2], P - 2, P) % P for value in reached[:2])
    return eight[0] % P != 0 and (y | (x % 2) << 255).to_bytes(32, "little") == signature[:32]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
