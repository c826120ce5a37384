"""A lake that tests write by hand, as in tests/warehouse, and the browser that people open the page in."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipelines.home.layout import Home
from pipelines.warehouse import sources
from tests.chromium import launched
from tests.report.account import publish
from tests.warehouse.conftest import lake as lake
from tests.warehouse.conftest import new_lake as new_lake
from tests.warehouse.lake import Lake


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The published account, for the tests that only read it."""
    root = tmp_path_factory.mktemp("account") / "home"
    root.mkdir(mode=0o700)
    lake = Lake(Home(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_catalogues", lake.catalogues)
        publish(lake)
    return lake
