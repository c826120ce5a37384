"""One published warehouse for all tests, a home of their own for those that write, and both receivers."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.home.layout import Home
from pipelines.warehouse import sources
from pipelines.warehouse.build import BuildOptions, build
from tests.digest.account import publish, settings
from tests.messages.mail_server import MailHost, running_mail_host
from tests.orchestration.alert_endpoint import AlertEndpoint, running_alert_endpoint
from tests.warehouse.conftest import new_lake as new_lake
from tests.warehouse.lake import Lake


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The published account. Tests only read it."""
    root = tmp_path_factory.mktemp("account") / "home"
    root.mkdir(mode=0o700)
    lake = Lake(Home(root))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sources, "read_catalogues", lake.catalogues)
        publish(lake)
    return lake


@pytest.fixture
def home(account: Lake, tmp_path: Path) -> Home:
    """A home with the account's published file, for tests that write."""
    copied = Home(tmp_path / "home")
    copied.root.mkdir(mode=0o700)
    shutil.copyfile(account.home.warehouse, copied.warehouse)
    return copied


@pytest.fixture
def webhook() -> Iterator[AlertEndpoint]:
    with running_alert_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def mail() -> Iterator[MailHost]:
    with running_mail_host() as host:
        yield host


@pytest.fixture
def lake_without_sessions(new_lake: Callable[[Path], Lake], tmp_path: Path) -> Lake:
    """A published warehouse in which nothing has happened."""
    lake = new_lake(tmp_path / "empty")
    build(lake.home, BuildOptions(settings(lake), "test"))
    return lake
