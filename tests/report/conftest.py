"""A lake that tests write by hand, as in tests/warehouse, and the browser that people open the page in."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipelines.home.layout import Home
from pipelines.warehouse import sources
from tests.report.account import publish
from tests.warehouse.conftest import lake as lake
from tests.warehouse.conftest import new_lake as new_lake
from tests.warehouse.lake import Lake

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable, "chromium is missing, and the page is tested in it: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
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
