"""Who asked, and why, stands in the chain."""

import getpass
from pathlib import Path

import pytest

from pipelines.chain import chain
from pipelines.evidence.access_log import note_access
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home


def test_it_says_who_and_why(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    open_home(home)
    head = note_access(home, "evidence", "ticket 12", {"embed": 7}, pytest.fail)
    (link,) = chain.read_links(home)
    assert head == link.head == chain.head_of(home)
    assert link.kind == "access"
    assert link.facts == {"command": "evidence", "user": getpass.getuser(), "reason": "ticket 12", "embed": 7}
