"""A setting that names claims which no token has is warned of, by the name that would fit."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines import steps
from pipelines.home.layout import Home
from pipelines.poll.report import SweepRequest
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.build_report import BuildReport
from tests.flatten.payloads import sign
from tests.poll.sweeping import settings_for, sweep
from tests.webhooks.receiving import running_receiver, settings_of

CLAIMS = {"iss": "c", "user_id": "u", "email": "a@b.c", "Debug": {"trace": 1}, "tags": [{"name": "x"}], "a.b": 1}


def publish(settings: Settings) -> BuildReport:
    return steps.publish(settings, on_wait=lambda _: None)


def warned(settings: Settings) -> dict[str, str | None]:
    """By the pattern that is warned of, the path that it would fit in another case; published without a request."""
    (check,) = [check for check in publish(settings).checks if check.name == "claim_patterns_match"]
    assert check.severity == "warn"
    return {row["pattern"]: row["path_in_other_case"] for row in check.sample}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def simulator() -> Any:
    with running_simulator(SimulatorOptions(embeds=12, days=2)) as simulator:
        yield simulator


@pytest.mark.slow
def test_patterns_that_fit_no_claim_of_the_list_are_warned_of(simulator: RunningSimulator, home: Path) -> None:
    policy = {"email": "drop", "emial": "drop", "NAME": "hash", "org.*": "keep", "Org.Name": "drop"}
    settings = settings_for(
        simulator,
        home,
        embed_analytics_claim_policy=policy,
        embed_analytics_claim_hash_key="key",
        embed_analytics_claim_types={"org.id": "BIGINT", "org.plan name": "VARCHAR", "seat": "BIGINT"},
        embed_analytics_customer_claim="ORG.name",
        embed_analytics_customer_id_claim="org.ID",
        embed_analytics_plan_claim="org.Plan Name",
    )
    assert warned(settings) == {}, "before any token was seen"
    sweep(settings)
    of_policy = {"emial": None, "NAME": "name", "Org.Name": "org.name"}
    of_others = {"org.plan name": "org.Plan Name", "seat": None, "ORG.name": "org.name", "org.ID": "org.id"}
    assert warned(settings) == of_policy | of_others

    # A policy that is set later is tried on every token again, whether or not anything is new.
    later = settings.model_copy(update={"embed_analytics_claim_policy": {"email": "drop", "x": "drop"}})
    assert warned(later) == of_others, "no token has been read since"
    sweep(later)
    assert warned(later) == {"x": None, **of_others}


@pytest.mark.slow
def test_a_state_that_was_lost_is_made_anew_with_what_it_knew(simulator: RunningSimulator, home: Path) -> None:
    settings = settings_for(simulator, home, embed_analytics_claim_policy={"email": "drop", "emial": "drop"})
    sweep(settings)
    Home(home).poll_state.unlink()
    assert warned(settings) == {}
    steps.sweep(settings, SweepRequest("refresh"), on_wait=lambda _: None)
    assert warned(settings) == {"emial": None}


def test_a_state_from_before_has_its_tokens_read_again(simulator: RunningSimulator, home: Path) -> None:
    settings = settings_for(simulator, home, embed_analytics_claim_policy={"email": "drop", "emial": "drop"})
    sweep(settings)
    with closing(sqlite3.connect(Home(home).poll_state)) as connection, connection:
        connection.execute("drop table claim_patterns")
    # A state of which this is not known was never noted either, and is believed.
    Home(home).poll_state.with_name("poll.sqlite.closed").unlink()
    sweep(settings)
    assert warned(settings) == {"emial": None}


@pytest.mark.slow
def test_what_the_receiver_dropped_is_known_to_have_matched(home: Path) -> None:
    policy = {
        "email": "drop",
        "emial": "drop",
        "Debug": "drop",
        "tags.name": "drop",
        r"a\.b": "drop",
        "USER_ID": "drop",
    }
    settings = settings_of(home, embed_analytics_claim_policy=policy)
    event = {"uuid": "event-1", "embed_id": 1, "event_type": "embed_initialized", "created_at": 1_772_442_000.0}
    with running_receiver(home, settings=settings) as receiver:
        assert receiver.push(orjson.dumps(event)).status_code == 200
        # Of a delivery without a token nothing is learnt.
        steps.receive(settings, on_wait=lambda _: None)
        assert warned(settings) == {}
        # The first one has the claim, and is not the last one to be read.
        for number, payload in enumerate([CLAIMS, {"iss": "c", "user_id": "u"}]):
            body = event | {"uuid": f"event-2{number}", "embed_jwt": sign(orjson.dumps(payload).decode(), "s")}
            assert receiver.push(orjson.dumps(body)).status_code == 200
    steps.receive(settings, on_wait=lambda _: None)
    assert warned(settings) == {"emial": None, "USER_ID": "user_id"}

    # What came under another policy says what it has, and not what it may have had.
    added = {"user_id": "drop", "tags": "drop", "Debug.trace": "drop", "trace": "drop"}
    other = settings.model_copy(update={"embed_analytics_claim_policy": policy | added})
    with running_receiver(home, settings=settings) as receiver:
        body = event | {"uuid": "event-3", "embed_jwt": sign(orjson.dumps(CLAIMS).decode(), "s")}
        assert receiver.push(orjson.dumps(body)).status_code == 200
    steps.receive(other, on_wait=lambda _: None)
    assert warned(other).keys() == {"emial", "USER_ID"}
