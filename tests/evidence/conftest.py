"""The account that packs are made of."""

import pytest

from tests.evidence.account import Account, made_account


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """For tests that only add to its chain."""
    return made_account(tmp_path_factory.mktemp("account"))
