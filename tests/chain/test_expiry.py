"""What a setting removes from raw has its link, wherever a writer is killed, and does not come back."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines import steps
from pipelines.chain import chain
from pipelines.chain.links import Link
from pipelines.evidence.chain_check import read_chain
from pipelines.evidence.raw_check import check_raw
from pipelines.home.layout import Home
from pipelines.home.times import micros
from pipelines.raw.expiry import expire_unreadable, oldest_unreadable
from pipelines.raw.landing import raw_files
from pipelines.raw.unreadable import UnreadableBody, land_unreadable
from tests.chain.ordered import links_in_order
from tests.webhooks.receiving import journal_files, running_receiver, settings_of

DAY = datetime(2026, 3, 2)
REASON = "a setting"
LIMIT = DAY + timedelta(days=3)


def land(home: Home, number: int, *, limit: datetime | None = None) -> None:
    """A segment's file: two bodies, received at noon of a day and of the day after."""
    bodies = [
        (micros(DAY + timedelta(days=number + more, hours=12)), UnreadableBody.of(b"%d" % more, "webhook", "no", "x"))
        for more in (0, 1)
    ]
    land_unreadable(home, f"segment-{number}", bodies, limit)


def days(home: Home) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in home.raw_unreadable.glob("*.parquet"))


def check(home: Home) -> list[Link]:
    """The links of a home, all in order. Raw has the files that they say, and none that they say was removed."""
    links = links_in_order(home)
    landed = {link.facts["path"]: link for link in links if link.kind == "landed"}
    expired = [link for link in links if link.kind == "expired"]
    for link in expired:
        facts = landed[link.facts["path"]].facts
        assert link.facts["landed"] == landed[link.facts["path"]].number
        assert (link.facts["rows"], link.facts["sha256"]) == (facts["rows"], facts["sha256"])
    gone = [link.facts["path"] for link in expired]
    assert len(gone) == len(set(gone))
    held = {path.relative_to(home.root).as_posix() for path in raw_files(home)}
    assert held == set(landed) - set(gone)
    # As `embed-analytics verify` sees it.
    found = check_raw(home, read_chain(home), with_rows=True)
    assert found.checked.findings == []
    return links


def test_a_file_goes_when_its_last_body_is_too_old(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for number in range(5):
        land(home, number)
    assert expire_unreadable(home, None, REASON) == []
    before = chain.head_of(home)
    assert [path.name.split("-")[1] for path in expire_unreadable(home, LIMIT, REASON)] == ["0", "1"]
    # The second body of the third file came on the first day that is kept.
    assert days(home) == [2, 3, 4]
    links = check(home)
    assert [link.kind for link in links[before.count :]] == ["expired"] * 2
    assert {link.facts["reason"] for link in links[before.count :]} == {REASON}
    assert expire_unreadable(home, LIMIT, REASON) == []
    assert chain.head_of(home).count == len(links)
    assert oldest_unreadable(home) == DAY + timedelta(days=2, hours=12)


def test_what_expired_is_not_landed_again(tmp_path: Path) -> None:
    """A damaged segment stays in the journal, and is read again by each run."""
    home = Home(tmp_path)
    land(home, 0)
    expire_unreadable(home, LIMIT, REASON)
    land(home, 0, limit=LIMIT)
    assert days(home) == []
    land(home, 2, limit=LIMIT)
    assert days(home) == [2]
    # Only the body of the day that is kept.
    (link,) = [link for link in check(home) if "segment-2" in link.facts["path"]]
    assert link.facts["rows"] == 1


@pytest.mark.parametrize("harm", ["changed", "damaged", "without a link"])
def test_a_file_that_verify_would_name_stays(tmp_path: Path, harm: str) -> None:
    home = Home(tmp_path)
    for number in range(2):
        land(home, number)
    first, second = sorted(home.raw_unreadable.glob("*.parquet"))
    if harm == "changed":
        shutil.copy(second, first)
    elif harm == "damaged":
        first.write_bytes(first.read_bytes()[:-9])
    else:
        first = first.rename(first.with_name("another.parquet"))
    assert expire_unreadable(home, LIMIT, REASON) == [second]
    assert first.exists()
    assert check_raw(home, read_chain(home)).checked.findings


def test_files_of_an_older_backup_expire_again(tmp_path: Path) -> None:
    """Backups keep what expired here. It is held again by the chain of then; by a newer one it has its link."""
    home, backup = Home(tmp_path / "home"), tmp_path / "backup"
    land(home, 0)
    land(home, 4)
    shutil.copytree(home.root / "raw", backup)
    expire_unreadable(home, LIMIT, REASON)
    newer = check(home)
    shutil.copytree(home.raw_chain, tmp_path / "newer")
    shutil.rmtree(home.root / "raw")
    shutil.copytree(backup, home.root / "raw")
    check(home)
    assert len(expire_unreadable(home, LIMIT, REASON)) == 1
    assert len(check(home)) == len(newer)
    # As docs/deploy/backup.sh keeps a copy: old files, and a chain that goes on.
    shutil.rmtree(home.root / "raw")
    shutil.copytree(backup, home.root / "raw")
    shutil.copytree(tmp_path / "newer", home.raw_chain, dirs_exist_ok=True)
    # The next writer sees that the last links say that it went.
    land(home, 5)
    assert expire_unreadable(home, LIMIT, REASON) == []
    assert [link.kind for link in check(home)] == [*(link.kind for link in newer), "landed"]
    assert days(home) == [4, 5]


def test_a_link_alone_removes_no_other_file(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    land(home, 0)
    other = tmp_path / "other"
    other.write_text("not of raw")
    facts = {"path": "../other", "rows": 1, "sha256": "0" * 64, "landed": 0, "reason": REASON}
    chain.append(home, [("expired", facts)])
    chain.finish(home)
    assert other.exists()


# Dies before the given one of what it renames and removes.
KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from pipelines.home.layout import Home
from pipelines.raw.expiry import expire_unreadable

left = int(sys.argv[2])
def counted(event, arguments):
    global left
    if event in ("os.rename", "os.remove"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(counted)
expire_unreadable(Home(Path(sys.argv[1])), datetime.fromisoformat(sys.argv[3]), "a setting")
"""


@pytest.mark.slow
def test_killed_at_any_place_of_an_expiry(tmp_path: Path) -> None:
    """Wherever a writer dies, the next one leaves a chain that fits raw."""
    made, outcomes = Home(tmp_path / "made"), list[tuple[int, int]]()
    for number in range(5):
        land(made, number)
    for place in range(1, 9):
        home = Home(tmp_path / str(place))
        shutil.copytree(made.root, home.root)
        arguments = [str(home.root), str(place), LIMIT.isoformat()]
        died = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=Path.cwd()).returncode
        outcomes.append((len(list(chain.read_links(home))), len(days(home))))
        again = Home(tmp_path / f"{place} again")
        shutil.copytree(home.root, again.root)
        # By the next writer of any kind.
        chain.finish(home)
        assert len(days(home)) == (5 if outcomes[-1][0] == 5 else 3)
        # Or by the next expiry, where another link came in between.
        chain.append(again, [("timestamp", {"token": ""})])
        for each in (home, again):
            expire_unreadable(each, LIMIT, REASON)
            assert Counter(link.kind for link in check(each))["expired"] == 2
            assert days(each) == [2, 3, 4]
        if died == 0:
            break
        assert died == -signal.SIGKILL
    # Links and files: before its links, between them and the files, and after them.
    assert outcomes == [(5, 5), (7, 5), (7, 4), (7, 3)]


@pytest.mark.slow
def test_a_run_removes_and_says_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with running_receiver(home.root) as receiver:
        assert receiver.push(b"nothing that is JSON").status_code == 200
    settings = settings_of(home.root)
    steps.receive(settings, on_wait=pytest.fail)
    assert journal_files(home.root) == []
    (path,) = home.raw_unreadable.iterdir()
    kept = settings.model_copy(update={"embed_analytics_keep_unreadable_days": 1})
    said: list[str] = []
    steps.receive(kept, on_wait=said.append)
    assert path.exists()
    assert said == []
    path.unlink()
    land(home, 0)
    steps.receive(kept, on_wait=said.append)
    assert list(home.raw_unreadable.iterdir()) == []
    assert [line.split(" were")[0] for line in said] == ["1 files of raw/unreadable"]


def test_a_damaged_chain_keeps_nothing_from_expiring(tmp_path: Path) -> None:
    """An expiry is part of a sweep, which lands what the source will delete."""
    home = Home(tmp_path)
    for number in range(3):
        land(home, number)
    damaged = chain.link_files(home)[1]
    damaged.write_bytes(b"no link\n")
    expired = expire_unreadable(home, DAY + timedelta(days=9), "a setting")
    # The file whose link is gone stays: nobody can say what it was.
    assert len(expired) == 2
    assert days(home) == [1]
    assert damaged.read_bytes() == b"no link\n"
