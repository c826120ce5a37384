"""Who asked, and why, stands in the chain."""

import getpass
import hashlib
import stat
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from pipelines.chain import chain
from pipelines.errors import PermanentError
from pipelines.evidence.access_log import note_access
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home
from pipelines.poll.report import SweepReport
from pipelines.raw.landing import begin_chain, land_sweep


def test_it_says_who_and_why(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    open_home(home)
    head = note_access(home, "evidence", "ticket 12", {"embed": 7}, pytest.fail)
    (link,) = chain.read_links(home)
    assert head == link.head == chain.head_of(home)
    assert link.kind == "access"
    path = home.root / "raw" / "access" / f"{link.facts['details']}.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == link.facts["details"]
    details = orjson.loads(path.read_bytes())
    assert len(bytes.fromhex(details.pop("salt"))) == 16
    assert details == {"command": "evidence", "user": getpass.getuser(), "reason": "ticket 12", "about": {"embed": 7}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_chain_itself_tells_nothing_of_it(tmp_path: Path) -> None:
    """Two equal requests have different digests, so that nobody can try who asked about whom."""
    home = Home(tmp_path / "home")
    open_home(home)
    for _ in range(2):
        note_access(home, "evidence", "about Ann Example", {"embed": 7}, pytest.fail)
    first, second = chain.read_links(home)
    assert set(first.facts) == {"details"}
    assert first.facts["details"] != second.facts["details"]


def test_it_does_not_begin_a_chain_without_the_files_of_raw(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    open_home(home)
    at = datetime(2026, 12, 1)
    land_sweep(home, SweepReport("first", "refresh", at, at).row())
    for path in chain.link_files(home):
        path.unlink()
    with pytest.raises(PermanentError, match="embed-analytics publish"):
        note_access(home, "verify", None, {}, pytest.fail)
    assert not chain.link_files(home)
    begin_chain(home, lambda _: None)
    note_access(home, "verify", None, {}, pytest.fail)
    assert [link.kind for link in chain.read_links(home)] == ["found", "access"]
