"""What lands gets its link, and keeps it, whatever happens in between."""

import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import orjson
import polars as pl
import pytest

from pipelines.chain import chain
from pipelines.chain.file_links import roots_of
from pipelines.chain.linked_paths import sha256_of
from pipelines.chain.links import Link
from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.poll.report import SweepReport
from pipelines.raw.landing import begin_chain, land_sweep, raw_files
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.chain.ordered import links_in_order
from tests.poll.sweeping import settings_for, sweep
from tests.webhooks.receiving import journal_files, running_receiver

SAMPLE = (Path(__file__).parents[1] / "simulator" / "fixtures" / "webhook_event.json").read_bytes()


def landed_sweep(home: Home, number: int = 0) -> None:
    at = datetime(2026, 12, 1, number)
    land_sweep(home, SweepReport(f"{at:%Y%m%dT%H%M%S}", "refresh", at, at).row())


def check(home: Home) -> list[Link]:
    """The links of a home, all in order; each file of raw has one that fits it."""
    links = links_in_order(home)
    files = {link.facts["path"]: link.facts for link in links if link.kind in ("landed", "found")}
    assert set(files) == {path.relative_to(home.root).as_posix() for path in raw_files(home)}
    for name, facts in files.items():
        frame = pl.read_parquet(home.root / name, glob=False, hive_partitioning=False)
        assert (facts["rows"], facts["root"]) == (frame.height, *roots_of([frame]))
        assert (facts["bytes"], facts["sha256"]) == ((home.root / name).stat().st_size, sha256_of(home.root / name))
    return links


def test_everything_that_a_sweep_lands_has_a_link(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with running_simulator(SimulatorOptions(embeds=20, days=3)) as simulator:
        first = sweep(settings_for(simulator, home.root))
        second = sweep(settings_for(simulator, home.root))
    links = check(home)
    assert Counter(link.facts["path"].split("/")[1] for link in links)["sweeps"] == 2
    assert {link.facts["sweep"] for link in links} == {first.sweep_id, second.sweep_id}


@pytest.mark.slow
def test_a_segment_has_a_link_before_it_goes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with running_simulator(SimulatorOptions(embeds=3, days=2)) as simulator:
        with running_receiver(home.root) as receiver:
            assert receiver.push(SAMPLE).status_code == 200
        (segment,) = journal_files(home.root)
        held = segment.read_bytes()
        sweep(settings_for(simulator, home.root))
    assert not segment.exists()
    (link,) = [link for link in check(home) if link.kind == "segment"]
    assert link.facts["path"] == f"webhooks/{segment.name}"
    assert link.facts["bytes"] == len(held)
    segment.write_bytes(held)
    assert link.facts["sha256"] == sha256_of(segment)


def test_raw_that_is_older_than_chains_gets_its_links_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for number in range(3):
        landed_sweep(home, number)
    damaged = raw_files(home)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    for path in chain.link_files(home):
        path.unlink()
    said: list[str] = []
    begin_chain(home, said.append)
    begin_chain(home, said.append)
    assert len(said) == 1
    assert "the 3 files that raw holds" in said[0]
    links = list(chain.read_links(home))
    assert [link.kind for link in links] == ["found"] * 3
    assert [link.facts["rows"] for link in links] == [None, 1, 1]
    assert links[0].facts["sha256"] == sha256_of(damaged)
    landed_sweep(home, 5)
    assert chain.head_of(home).count == 4


def test_what_was_linked_and_not_renamed_gets_its_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    landed_sweep(home)
    (path,) = raw_files(home)
    content = path.read_bytes()
    path.rename(path.with_name(f".tmp-1-{path.name}"))
    # Of another file that only has the name, nothing is taken.
    path.with_name(f".tmp-0-{path.name}").write_bytes(b"another")
    chain.finish(home)
    assert path.read_bytes() == content


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from pipelines.home.layout import Home
from pipelines.home import files
from pipelines.poll.report import SweepReport
from pipelines.raw.landing import land_sweep

left = int(sys.argv[2])
def counted(frame, event, argument):
    global left
    if frame.f_code.co_filename.endswith(("chain/chain.py", "home/files.py", "raw/landing.py")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(counted)
land_sweep(Home(Path(sys.argv[1])), SweepReport("killed", "refresh", datetime(2026, 12, 1), None).row())
"""


@pytest.mark.slow
def test_killed_at_any_place_of_a_landing(tmp_path: Path) -> None:
    """Wherever a writer dies, the next one leaves a chain that fits raw, and no file twice."""
    outcomes: Counter[int] = Counter()
    for place in range(4, 2000, 23):
        home = Home(tmp_path / str(place))
        landed_sweep(home, 0)
        died = subprocess.run([sys.executable, "-c", KILLED, str(home.root), str(place)], cwd=Path.cwd()).returncode
        chain.finish(home)
        landed_sweep(home, 1)
        outcomes[len(check(home))] += 1
        if died == 0:
            break
        assert died == -signal.SIGKILL
    else:
        pytest.fail("no landing was whole")
    # Some died before the link, which is then not there, and some after it.
    assert set(outcomes) == {2, 3}
    assert min(outcomes.values()) > 1


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "chain.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    return path


def test_each_append_is_signed_where_there_is_a_key(tmp_path: Path, key: Path) -> None:
    """OpenSSL is asked, which shares nothing with the code under test."""
    home = Home(tmp_path / "home", signing_key=key)
    for number in range(2):
        landed_sweep(home, number)
    links = check(home)
    assert [link.kind for link in links] == ["landed", "signature"] * 2
    public, message, signature = tmp_path / "public", tmp_path / "message", tmp_path / "signature"
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    for link in links[1::2]:
        message.write_bytes(bytes.fromhex(link.previous))
        signature.write_bytes(bytes.fromhex(link.facts["signature"]))
        verify = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            "-in",
            message,
            "-sigfile",
            signature,
        ]
        assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
        message.write_bytes(bytes.fromhex(links[0].previous))
        assert subprocess.run(verify, capture_output=True, check=False).returncode != 0
    held = key.read_text().split("\n")[1]
    assert all(held not in path.read_text() for path in chain.link_files(home))


@pytest.mark.parametrize(
    "content", [None, "", "-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----\n", "secret-text"]
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_SIGNING_KEY_FILE") as caught:
        landed_sweep(Home(tmp_path / "home", signing_key=path))
    assert "secret-text" not in str(caught.value)
    assert not raw_files(Home(tmp_path / "home"))


def test_links_are_lines_of_json_that_anyone_can_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    landed_sweep(home)
    (path,) = chain.link_files(home)
    assert path.relative_to(home.root).as_posix() == "raw/chain/000000/000000000000.jsonl"
    (line,) = path.read_bytes().splitlines()
    assert set(orjson.loads(line)) == {
        *("number", "kind", "at", "previous", "path", "rows", "root", "bytes", "sha256", "sweep")
    }


@pytest.mark.parametrize("damage", [b"", b"\n", b"{}\n", b"no link", b"\xff\n\n"])
def test_a_damaged_end_of_the_chain_keeps_nothing_from_landing(tmp_path: Path, damage: bytes) -> None:
    home = Home(tmp_path)
    landed_sweep(home, 0)
    landed_sweep(home, 1)
    last = chain.link_files(home)[-1]
    last.write_bytes(damage)
    # Nothing of ours, and no reason to stop.
    (last.parent / "notes.txt").write_text("by hand")
    landed_sweep(home, 2)
    assert len(raw_files(home)) == 3
    assert last.read_bytes() == damage
    appended = chain.link_files(home)[-2]
    assert int(appended.stem) > int(last.stem)
    assert [link.facts["path"] for link in chain.links_of(appended)] == [
        raw_files(home)[-1].relative_to(home.root).as_posix()
    ]


def test_any_append_names_what_a_killed_writer_had_not(tmp_path: Path) -> None:
    """Nobody looks at older links again, so it may not be left to the next landing."""
    home = Home(tmp_path)
    landed_sweep(home)
    (path,) = raw_files(home)
    path.rename(path.with_name(f".tmp-1-{path.name}"))
    chain.append(home, [("access", {"details": "0"})])
    assert path.exists()


@pytest.mark.parametrize(
    "name", ["outside.txt", "../outside.txt", "raw/../outside.txt", "raw/chain/x", "/etc/passwd", 7]
)
@pytest.mark.parametrize("kind", ["landed", "expired"])
def test_a_link_reaches_nothing_outside_raw(tmp_path: Path, kind: str, name: object) -> None:
    home = Home(tmp_path / "home")
    landed_sweep(home)
    outside = [tmp_path / "outside.txt", home.root / "outside.txt", home.raw_chain / "x"]
    for path in outside:
        path.write_text("of somebody else")
        path.with_name(f".tmp-1-{path.name}").write_text("of somebody else")
    chain.append(home, [(kind, {"path": name, "sha256": sha256_of(outside[0])})])
    before = {path: path.exists() for path in tmp_path.rglob("*")}
    chain.finish(home)
    assert {path: path.exists() for path in tmp_path.rglob("*")} == before
