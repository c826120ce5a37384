"""Who may write to a home can write a chain that fits itself. What shows that, and what does not."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.chain import chain, links
from pipelines.chain.links import EMPTY
from pipelines.chain.signing import load_signer
from pipelines.errors import ConfigurationError
from pipelines.evidence.access_log import note_access
from pipelines.evidence.verify import verify
from pipelines.home.layout import Home
from pipelines.settings import Settings
from tests.evidence.homes import copied, made_home, put

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, another one, and the public halves of both."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / name], check=True)
        subprocess.run(["openssl", "pkey", "-in", folder / name, "-pubout", "-out", folder / f"{name}.pub"], check=True)
    return folder


@pytest.fixture(scope="module")
def made(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("attackers") / "home"
    return made_home(root, embed_analytics_signing_key_file=keys / "ours")


@pytest.fixture
def signed(made: Settings, tmp_path: Path) -> Settings:
    return copied(made, tmp_path / "home")


def reasons(settings: Settings, *public: Path) -> list[str]:
    return [str(finding) for finding in verify(settings, keys=public).checked.findings]


def rewrite(home: Home, change: Callable[[dict[str, Any]], None], key: Path | None) -> None:
    """Write every link anew, changed, and all digests so that they fit; signed by `key`, or by nobody."""
    signer = load_signer(key)
    head = EMPTY
    for path in chain.link_files(home):
        lines: list[bytes] = []
        first = head.count
        for old in chain.links_of(path):
            facts = dict(old.facts)
            if old.kind == "signature":
                if signer is None:
                    continue
                facts = dict(signer.sign(head.digest_bytes))
            change(facts)
            new = links.make(old.kind, facts, old.at, head)
            lines.append(new.line + b"\n")
            head = new.head
        path.unlink()
        put(path.with_name(f"{first:012d}.jsonl"), b"".join(lines))


def other_sweep(facts: dict[str, Any]) -> None:
    if "sweep" in facts:
        facts["sweep"] = "another"


def unpublish(settings: Settings) -> None:
    settings.home.warehouse.unlink()


def test_an_untouched_home_says_whose_key_it_is(signed: Settings, keys: Path) -> None:
    assert reasons(signed) == reasons(signed, keys / "ours.pub") == []
    public = load_signer(keys / "ours")
    assert public is not None
    checked = verify(signed).checked
    assert any(public.public_key in sentence for sentence in checked.proven)
    assert any("compare it with yours" in sentence for sentence in checked.unproven)
    assert "is not signed by the key that was given" in reasons(signed, keys / "theirs.pub")[0]


@pytest.mark.parametrize("key", [None, "theirs"])
def test_a_chain_that_was_written_anew_is_found_by_the_key(signed: Settings, keys: Path, key: str | None) -> None:
    rewrite(signed.home, other_sweep, keys / key if key else None)
    unpublish(signed)
    assert reasons(signed) == [], "it fits itself"
    assert any("no published warehouse says" in sentence for sentence in verify(signed).checked.unproven)
    (found,) = reasons(signed, keys / "ours.pub")
    assert "is not signed by the key that was given" in found


def test_a_chain_that_was_written_anew_is_found_by_the_warehouse(signed: Settings, keys: Path) -> None:
    rewrite(signed.home, other_sweep, keys / "ours")
    assert reasons(signed, keys / "ours.pub") != []
    unpublish(signed)
    assert reasons(signed, keys / "ours.pub") == [], "who has the key too can do it"


def test_signatures_of_other_links_do_not_fit(signed: Settings) -> None:
    signatures = [link.facts for link in chain.read_links(signed.home) if link.kind == "signature"]
    rewrite(signed.home, other_sweep, None)
    unpublish(signed)
    for facts in (signatures[-1], {"key": "11" * 32, "signature": "22" * 64}, {"key": "?"}):
        chain.append(Home(signed.home.root), [("signature", facts)])
    found = reasons(signed)
    assert len(found) == 3
    assert all("does not fit the links before it" in reason for reason in found)


def test_an_end_that_nobody_signed_is_found(signed: Settings, keys: Path) -> None:
    unsigned = signed.model_copy(update={"embed_analytics_signing_key_file": None})
    note_access(unsigned.home, "verify", None, {}, pytest.fail)
    (found,) = reasons(signed)
    assert "is not signed, and appends before it are" in found
    # The next signature covers it. With the key given, it has to have one of its own.
    note_access(signed.home, "verify", None, {}, pytest.fail)
    checked = verify(signed).checked
    assert checked.findings == []
    assert any("a later one covers them" in note for note in checked.notes)
    assert len(reasons(signed, keys / "ours.pub")) == 1


@pytest.mark.parametrize("dropped", [1, 3])
def test_a_lost_end_is_found_by_the_warehouse_and_by_the_files(signed: Settings, keys: Path, dropped: int) -> None:
    linked: list[str] = []
    for path in chain.link_files(signed.home)[-dropped:]:
        linked += [link.facts["path"] for link in chain.links_of(path) if "path" in link.facts]
        path.unlink()
    found = reasons(signed, keys / "ours.pub")
    assert any("the chain's end was removed" in reason for reason in found)
    assert any("has no link" in reason and linked[0] in reason for reason in found)
    # With the files that it linked, and without the warehouse, nothing is left that could show it: this is said.
    unpublish(signed)
    for finding in verify(signed).checked.findings:
        assert finding.path is not None
        (signed.home.root / finding.path).unlink()
    checked = verify(signed, keys=[keys / "ours.pub"]).checked
    assert checked.findings == []
    assert any("nothing here would show it" in sentence for sentence in checked.unproven)


def test_a_chain_that_begins_to_be_signed_is_covered_by_its_first_signature(
    made: Settings, keys: Path, tmp_path: Path
) -> None:
    settings = copied(made, tmp_path / "home")
    rewrite(settings.home, lambda _: None, None)
    unpublish(settings)
    note_access(settings.home, "verify", None, {}, pytest.fail)
    checked = verify(settings, keys=[keys / "ours.pub"]).checked
    assert checked.findings == []
    assert any("before the first signature" in note for note in checked.notes)


def test_a_link_cannot_lead_out_of_raw(signed: Settings, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    for path in (str(outside), "raw/../../outside", "state/poll.sqlite", "raw/chain/x", 7):
        facts = {"path": path, "rows": 1, "root": "", "bytes": 8, "sha256": "0" * 64}
        chain.append(signed.home, [("landed", facts)])
    checked = verify(signed).checked
    assert len(checked.findings) == 5
    assert all("names no file of raw" in finding.reason for finding in checked.findings)


@pytest.mark.parametrize("content", [None, b"", b"secret-text", "ours"])
def test_a_key_that_is_not_a_public_one_is_refused(
    signed: Settings, keys: Path, tmp_path: Path, content: bytes | str | None
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes((keys / content).read_bytes() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError, match="--key"):
        verify(signed, keys=[path])


def test_links_are_compared_as_they_stand(signed: Settings) -> None:
    """The same JSON in another spelling is another line."""
    path = chain.link_files(signed.home)[0]
    put(path, b"".join(orjson.dumps(orjson.loads(line)) + b" \n" for line in path.read_bytes().splitlines()))
    assert any("one was changed" in reason for reason in reasons(signed))
