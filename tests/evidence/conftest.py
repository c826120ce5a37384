"""The account that packs are made of, and a home whose copies are changed. Each is made once."""

import pytest

from pipelines.settings import Settings
from tests.evidence.account import Account, made_account
from tests.evidence.homes import made_home


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """For tests that only add to its chain."""
    return made_account(tmp_path_factory.mktemp("account"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Not to be changed."""
    return made_home(tmp_path_factory.mktemp("made") / "home")
