"""Fixtures of the Dagster tests."""

from collections.abc import Iterator

import pytest

from tests.dagster.alert_endpoint import AlertEndpoint, running_alert_endpoint


@pytest.fixture
def alert_endpoint() -> Iterator[AlertEndpoint]:
    with running_alert_endpoint() as endpoint:
        yield endpoint
