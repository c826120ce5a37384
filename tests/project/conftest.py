"""A copy of the repository to follow a recipe in."""

from pathlib import Path

import pytest

from tests.project.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.copy(tmp_path)
