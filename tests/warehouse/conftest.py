"""A home of its own for each test, with the flattening's reports answered by the hand-written lake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.home.layout import Home
from pipelines.warehouse import sources
from tests.warehouse.lake import Lake


@pytest.fixture
def new_lake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Lake]:
    """Makes lakes in folders; the last one made is the one that builds read their reports from."""

    def make(root: Path) -> Lake:
        # As a home is made, whatever this process may have written before.
        root.mkdir(mode=0o700, parents=True)
        lake = Lake(Home(root))
        monkeypatch.setattr(sources, "read_catalogues", lake.catalogues)
        return lake

    return make


@pytest.fixture
def lake(new_lake: Callable[[Path], Lake], tmp_path: Path) -> Lake:
    """An empty lake."""
    return new_lake(tmp_path / "home")
