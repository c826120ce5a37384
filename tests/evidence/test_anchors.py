"""Heads that are kept outside: as files, and stamped by an authority that really answers over HTTP."""

import hashlib
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chain import chain, links
from pipelines.chain.links import EMPTY, Head, Link
from pipelines.errors import ConfigurationError
from pipelines.evidence.anchoring import anchor_home
from pipelines.evidence.anchors import Anchor, broken_anchors, read_anchor, write_anchor
from pipelines.evidence.timestamps import (
    AuthorityUnreachableError,
    TimestampRefusedError,
    fetch_timestamp,
    read_roots,
    stamped_at,
)
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home
from tests.evidence.authority import Authority, make_authority, running_authority, stamp
from tests.terminal.test_cli import run


def chain_of(texts: list[str]) -> list[Link]:
    made: list[Link] = []
    head = EMPTY
    for text in texts:
        made.append(links.make("access", {"reason": text}, "2026-12-01T00:00:00.000000Z", head))
        head = made[-1].head
    return made


@given(st.lists(st.text(max_size=3), min_size=1, max_size=8), st.data())
def test_an_anchor_holds_as_long_as_nothing_before_it_changes(texts: list[str], data: st.DataObject) -> None:
    length = data.draw(st.integers(1, len(texts)))
    held = chain_of(texts)
    anchor = Anchor(Path("anchor"), held[length - 1].head)
    assert broken_anchors([anchor], held) == []
    # What comes after it is not its business.
    assert broken_anchors([anchor], chain_of([*texts[:length], "another end"])) == []
    changed = data.draw(st.integers(0, length - 1))
    rewritten = chain_of([*texts[:changed], texts[changed] + "!", *texts[changed + 1 :]])
    assert [anchor for anchor, _ in broken_anchors([anchor], rewritten)] == [anchor]
    cut = data.draw(st.integers(0, length - 1))
    assert [anchor for anchor, _ in broken_anchors([anchor], held[:cut])] == [anchor]


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    head = Head(12, hashlib.sha256(b"12").hexdigest())
    write_anchor(head, tmp_path / "anchor.json")
    assert read_anchor(tmp_path / "anchor.json") == Anchor(tmp_path / "anchor.json", head)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"format": "another", "count": 1, "head": "00"}',
        b'{"format": "embed-analytics anchor 1", "count": 1, "head": "00"}',
        b'{"format": "embed-analytics anchor 1", "count": "1", "head": "' + b"0" * 64 + b'"}',
        b'{"format": "embed-analytics anchor 1", "head": "' + b"0" * 64 + b'"}',
        None,
    ],
)
def test_another_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "anchor.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"anchor\.json"):
        read_anchor(path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Generator[Authority]:
    with running_authority(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    open_home(home)
    chain.append(home, [("access", {"command": "verify"})])
    return home


@pytest.mark.slow
def test_a_head_is_stamped_and_the_stamp_is_in_the_chain(home: Home, authority: Authority, tmp_path: Path) -> None:
    before = chain.head_of(home)
    out = tmp_path / "anchor.json"
    head = anchor_home(home, out, authority.url, pytest.fail)
    assert head == chain.head_of(home) == read_anchor(out).head
    _, link = chain.read_links(home)
    assert link.kind == "timestamp"
    assert link.previous == before.digest
    # The authority learns a digest, and nothing else.
    assert hashlib.sha256(before.digest_bytes).digest() in authority.requests[-1]
    assert len(authority.requests[-1]) < 100
    roots = read_roots(authority.root)
    assert abs(stamped_at(link, roots) - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.slow
def test_a_stamp_holds_for_its_head_and_its_authority_alone(home: Home, authority: Authority, tmp_path: Path) -> None:
    anchor_home(home, None, authority.url, pytest.fail)
    _, link = chain.read_links(home)
    roots = read_roots(authority.root)
    other_head = links.make("timestamp", link.facts, link.at, Head(1, hashlib.sha256(b"other").hexdigest()))
    stranger = read_roots(make_authority(tmp_path))
    changed = links.make("timestamp", {"token": link.facts["token"][:-8] + "AAAAAAA="}, link.at, chain.head_of(home))
    absent = links.make("timestamp", {}, link.at, chain.head_of(home))
    for wrong, trusted in ((other_head, roots), (link, stranger), (changed, roots), (absent, roots)):
        with pytest.raises(TimestampRefusedError, match=f"link {wrong.number} "):
            stamped_at(wrong, trusted)


@pytest.mark.slow
def test_an_authority_that_gives_no_stamp_is_named_and_leaves_no_link(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    head = chain.head_of(home)
    make_authority(tmp_path)
    fetch_timestamp(head, authority.url)
    another = stamp(tmp_path, authority.requests[-1][:-8] + b"12345678")
    answers = [
        (200, b"<html>", TimestampRefusedError),
        (404, b"", TimestampRefusedError),
        (503, b"", AuthorityUnreachableError),
        # A refusal, and what was stamped for somebody else.
        (200, stamp(tmp_path, b"nothing"), TimestampRefusedError),
        (200, another, TimestampRefusedError),
    ]
    for status, body, expected in answers:
        authority.answers.append((status, body))
        with pytest.raises(expected, match=r"127\.0\.0\.1"):
            anchor_home(home, None, authority.url.replace("://", "://user:hidden@"), pytest.fail)
    with pytest.raises(AuthorityUnreachableError):
        anchor_home(home, None, "http://127.0.0.1:9/", pytest.fail)
    for url in ("ftp://127.0.0.1/", "127.0.0.1", "http://"):
        with pytest.raises(ConfigurationError, match="authority"):
            anchor_home(home, None, url, pytest.fail)
    assert chain.head_of(home) == head


def test_no_chain_and_no_room_are_said(tmp_path: Path, home: Home) -> None:
    with pytest.raises(ConfigurationError, match="no chain yet"):
        anchor_home(Home(tmp_path / "other"), None, None, pytest.fail)
    with pytest.raises(ConfigurationError, match=r"cannot be written"):
        anchor_home(home, Path("/proc/anchor.json"), None, pytest.fail)


@pytest.mark.slow
def test_verify_holds_the_chain_against_anchors_and_time_stamps(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    def verified(*options: str) -> tuple[int, str]:
        done = run(tmp_path, "verify", *options, EMBED_ANALYTICS_HOME=str(home.root))
        return done.returncode, done.stdout

    anchor_home(home, tmp_path / "anchor.json", authority.url, pytest.fail)
    status, said = verified()
    assert status == 0
    assert "1 time-stamps were not looked at" in said
    status, said = verified("--anchor", "anchor.json", "--authority", str(authority.root))
    assert status == 0
    assert "proven: Links 0 to 1 are as they were when anchor.json was written." in said
    assert "proven: Links 0 to 0 existed at " in said
    status, said = verified("--authority", str(make_authority(tmp_path)))
    assert status == 1
    assert "the time-stamp of link 1 does not hold" in said
    # Cut off behind the first link, where what is left fits itself, and then written on.
    for path in chain.link_files(home)[1:]:
        path.unlink()
    status, said = verified("--anchor", "anchor.json")
    assert status == 1
    assert "anchor.json is broken: the chain ends before link 1" in said
    chain.append(home, [("access", {"details": "other"})])
    status, said = verified("--anchor", "anchor.json")
    assert status == 1
    assert "link 1, or one before it, is not the one that the anchor has seen" in said


@pytest.mark.slow
def test_the_command_prints_what_it_writes(tmp_path: Path, home: Home) -> None:
    done = run(tmp_path, "anchor", "--out", "anchor.json", EMBED_ANALYTICS_HOME=str(home.root))
    assert done.returncode == 0, done.stderr
    head = chain.head_of(home)
    assert done.stdout == f"{head.digest} is the head of the chain; its last link has number 0.\n"
    assert orjson.loads((tmp_path / "anchor.json").read_bytes())["head"] == head.digest
