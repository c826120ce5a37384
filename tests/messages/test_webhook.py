"""A webhook on real HTTP: each end of a message told apart, retried where that is safe, and the URL not shown."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from pipelines.messages.delivery import (
    DeliveryUnknownError,
    MessageError,
    NotTakenError,
    Patience,
    RefusedError,
    deliver,
)
from pipelines.messages.webhook import post
from tests.orchestration.alert_endpoint import AlertEndpoint, running_alert_endpoint

AT_ONCE = Patience(attempts=3, wait_seconds=0)


@pytest.fixture
def endpoint() -> Iterator[AlertEndpoint]:
    with running_alert_endpoint() as running:
        yield running


def send(url: str) -> None:
    post(SecretStr(url), {"text": "hello", "blocks": []}, "HOOK")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(endpoint: AlertEndpoint, status: int) -> None:
    endpoint.answers = [status, status]
    deliver(lambda: send(endpoint.url), AT_ONCE)
    assert endpoint.bodies == [{"text": "hello", "blocks": []}]
    endpoint.answers = [status] * 3
    with pytest.raises(NotTakenError, match=f"HOOK answered {status}"):
        deliver(lambda: send(endpoint.url), AT_ONCE)
    # Three times, and no fourth.
    assert (len(endpoint.bodies), endpoint.answers) == (1, [])


@pytest.mark.parametrize("status", [301, 400, 403, 404, 410])
def test_a_refusal_is_not_tried_again(endpoint: AlertEndpoint, status: int) -> None:
    endpoint.answers = [status]
    endpoint.headers = {"Location": endpoint.url}
    with pytest.raises(RefusedError, match=f"HOOK answered {status}"):
        deliver(lambda: send(endpoint.url), AT_ONCE)
    assert endpoint.bodies == []


def test_a_message_that_may_have_arrived_is_not_tried_again(endpoint: AlertEndpoint) -> None:
    endpoint.answers = [0]
    with pytest.raises(DeliveryUnknownError, match="may have taken the message"):
        deliver(lambda: send(endpoint.url), AT_ONCE)
    assert endpoint.bodies == []


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:9/secret-path", NotTakenError),
        ("no-url/secret-path", RefusedError),
        ("http://[/secret-path", NotTakenError),
    ],
)
def test_an_address_that_cannot_be_reached_is_not_shown(url: str, kind: type[MessageError]) -> None:
    with pytest.raises(kind, match="HOOK cannot be reached") as refused:
        send(url)
    assert "secret-path" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_the_receiver_says_how_long_to_wait(endpoint: AlertEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    endpoint.answers, endpoint.headers = [429, 503], {"Retry-After": "37"}
    deliver(lambda: send(endpoint.url), AT_ONCE)
    assert waited == [37.0, 37.0]
    endpoint.answers, endpoint.headers = [429, 503, 503], {"Retry-After": "never"}
    waited.clear()
    deliver(lambda: send(endpoint.url), Patience(attempts=4, wait_seconds=2))
    assert len(waited) == 3
    assert all(0 <= seconds <= 30 for seconds in waited)
