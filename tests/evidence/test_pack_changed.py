"""Whatever is changed in a pack is found: by verify.py, and by a program that was written from the page alone."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipelines.evidence import pack_verifier
from pipelines.evidence.pack import write_pack
from tests.evidence.account import Account
from tests.evidence.third_party import Members, members_of, problem_of
from tests.proving import seeds

pytestmark = [pytest.mark.slow, pytest.mark.prove]

LINES = ("rows.jsonl", "links.jsonl", "proofs.json", "session.txt")


@pytest.fixture(scope="module")
def members(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Members:
    path = tmp_path_factory.mktemp("pack") / "session.zip"
    write_pack(account.settings, account.embed_id, path, "audit", pytest.fail)
    return members_of(path)


def flipped(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def inserted(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + random.choice([b" ", b"\n", b"0", b"\0", b"\xff"]) + content[place:]


def cut_out(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content))
    return content[:place] + content[place + random.choice([1, 1, 7, len(content)]) :]


def line_removed(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[random.randrange(len(lines))]
    return b"".join(lines)


def line_repeated(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(random.randrange(len(lines)), random.choice(lines))
    return b"".join(lines)


def lines_swapped(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = random.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def value_changed(random: Random, content: bytes) -> bytes:
    """Proofs that were swapped, places that were moved, and the same JSON in other white space."""
    proofs = json.loads(content)
    one, other = random.sample(proofs, 2)
    what = random.choice(["proof", "position", "link", "file", "form"])
    if what != "form":
        one[what], other[what] = other[what], one[what]
    return json.dumps(proofs, indent=random.choice([None, 1])).encode()


def changed(random: Random, members: Members) -> tuple[str, Members]:
    """The pack with one change, and what kind of change it is."""
    place = random.randrange(len(members))
    name, content = members[place]
    of_lines = [line_removed, line_repeated, lines_swapped] if name in LINES else []
    of_values = [value_changed] if name == "proofs.json" else []
    ways: list[Callable[[Random, bytes], bytes]] = [flipped, inserted, cut_out, *of_lines, *of_values]
    if random.random() < 0.05:
        other = random.randrange(len(members))
        whole = list(members)
        match random.choice(["removed", "repeated", "moved"]):
            case "removed":
                del whole[place]
            case "repeated":
                whole.insert(other, members[place])
            case _:
                whole[place], whole[other] = whole[other], whole[place]
        return "members", whole
    way = random.choice(ways)
    return f"{name} {way.__name__}", [*members[:place], (name, way(random, content)), *members[place + 1 :]]


def is_found_by_program(members: Members) -> bool:
    if [name for name, _ in members] != pack_verifier.MEMBERS:
        return True
    try:
        pack_verifier.verify(dict(members))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return True
    return False


def test_each_of_a_thousand_changes_is_found(members: Members) -> None:
    assert problem_of(members) is None
    assert not is_found_by_program(members)
    kinds: Counter[str] = Counter()
    for seed in seeds(1_000):
        kind, mutant = changed(Random(seed), members)
        if mutant == members:
            continue
        kinds[kind] += 1
        assert problem_of(mutant) is not None, (seed, kind)
        assert is_found_by_program(mutant), (seed, kind)
    assert kinds.total() > 950
    assert len(kinds) >= 40


def test_what_is_changed_with_its_digests_is_found_by_a_key_or_a_head(account: Account, members: Members) -> None:
    """A forger makes the pack anew: all fits, and nobody has signed it."""
    content = dict(members)
    content["session.txt"] = content["session.txt"].replace(b"Session", b"Meeting", 1)
    links, _ = pack_verifier.read_links(content["links.jsonl"])
    pack = {**links[-2], "members": {name: pack_verifier.sha256(content[name]) for name in pack_verifier.BOUND}}
    lines = [*content["links.jsonl"].split(b"\n")[:-3], json.dumps(pack).encode()]
    content["links.jsonl"] = b"".join(line + b"\n" for line in lines)
    content["heads.json"] = pack_verifier.heads_of(*pack_verifier.read_links(content["links.jsonl"]))
    forged = list(content.items())
    head = json.loads(dict(members)["heads.json"])["head"]["digest"]
    assert problem_of(forged) is None
    assert problem_of(forged, key=account.public_key) == "not signed by that key"
    assert problem_of(forged, head=head) == "another chain"
    assert pack_verifier.verify(content)
    for known in ({"key": account.public_key}, {"known_head": head}):
        with pytest.raises(pack_verifier.BrokenPackError):
            pack_verifier.verify(content, **known)


@pytest.mark.parametrize(
    ("fact", "value"),
    [("kind", "expired"), ("path", "raw/embed_events/another.parquet"), ("rows", 1_000_000), ("root", "0" * 64)],
)
def test_a_row_must_be_of_its_link_even_where_all_digests_fit(members: Members, fact: str, value: object) -> None:
    """Of each rule on rows, a pack that breaks it alone: the chain is made anew around the change."""
    content = dict(members)
    links, _ = pack_verifier.read_links(content["links.jsonl"])
    remade(content, links)
    assert problem_of(list(content.items())) is None
    pack_verifier.verify(content)
    used = json.loads(content["proofs.json"])[0]["link"]
    links, _ = pack_verifier.read_links(content["links.jsonl"])
    links[used][fact] = value
    remade(content, links)
    assert problem_of(list(content.items())) is not None
    with pytest.raises(pack_verifier.BrokenPackError):
        pack_verifier.verify(content)


def test_a_row_of_another_session_is_refused(members: Members) -> None:
    content = dict(members)
    about = json.loads(content["about.json"])
    content["about.json"] = json.dumps({**about, "embed_id": about["embed_id"] + 1}).encode()
    links, _ = pack_verifier.read_links(content["links.jsonl"])
    remade(content, links)
    assert problem_of(list(content.items())) == "a row of another session"
    with pytest.raises(pack_verifier.BrokenPackError, match="is of another session"):
        pack_verifier.verify(content)


def remade(content: dict[str, bytes], links: list[dict[str, Any]]) -> None:
    """Links without signatures, numbered anew from the first, with all digests as they have to be."""
    numbers = {link["number"]: link["number"] for link in links}
    kept = [link for link in links if link["kind"] != "signature"]
    for place, link in enumerate(kept):
        numbers[link["number"]] = place
    proofs = json.loads(content["proofs.json"])
    for proof in proofs:
        proof["link"] = numbers[proof["link"]]
    content["proofs.json"] = json.dumps(proofs).encode()
    kept[-1]["access"] = numbers[kept[-1]["access"]]
    kept[-1]["members"] = {name: pack_verifier.sha256(content[name]) for name in pack_verifier.BOUND}
    lines: list[bytes] = []
    for place, link in enumerate(kept):
        previous = pack_verifier.sha256(lines[-1]) if lines else "0" * 64
        lines.append(json.dumps({**link, "number": place, "previous": previous}).encode())
    content["links.jsonl"] = b"".join(line + b"\n" for line in lines)
    content["heads.json"] = pack_verifier.heads_of(*pack_verifier.read_links(content["links.jsonl"]))


def test_a_zip_that_is_none_or_repeats_a_name_is_refused(
    members: Members, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "session.zip"
    for content in (b"", b"PK\x03\x04", b"\xff" * 100):
        path.write_bytes(content)
        assert pack_verifier.main([str(path)]) == 1
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members:
            file.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr(*members[2])
    assert pack_verifier.main([str(path)]) == 1
    assert pack_verifier.main([str(tmp_path / "missing.zip")]) == 1
    assert capsys.readouterr().out.count("NOT OK: ") == 5
