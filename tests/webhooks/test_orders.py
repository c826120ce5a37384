"""Whatever came by webhook, by poll, or by both, in whatever order and however often: the same lake."""

import random
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import polars as pl
import pytest

from pipelines import steps
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.simulator.simulation import Simulation
from pipelines.webhooks.journal import JournalLimits
from tests.poll.sweeping import settings_for, sweep
from tests.webhooks.receiving import (
    RunningReceiver,
    basic,
    full_events,
    ingest,
    lake_table,
    landed_uuids,
    running_receiver,
    settings_of,
)

SECRETS = {SimulatorOptions().client_id: SimulatorOptions().client_secret}


def push_all(receiver: RunningReceiver, bodies: list[bytes], seed: int) -> None:
    """All of them, shuffled, and some of them again."""
    draw = random.Random(seed)
    for body in draw.sample(bodies, len(bodies)) + draw.sample(bodies, len(bodies) // 5):
        assert receiver.push(body).status_code == 200


def lake_after(simulator: RunningSimulator, home: Path, order: list[str]) -> dict[str, pl.DataFrame]:
    settings = settings_for(simulator, home, oneschema_client_secrets=SECRETS)
    bodies = list(full_events(simulator.simulation))
    received = settings_of(home, oneschema_client_secrets=SECRETS)
    with running_receiver(home, settings=received) as receiver:
        for number, step in enumerate(order):
            if step == "push":
                push_all(receiver, bodies, number)
            elif step == "push half":
                push_all(receiver, bodies[::2], number)
            elif step == "poll":
                sweep(settings)
            elif step == "flatten":
                steps.flatten(settings, on_wait=pytest.fail)
    ingest(home, received)
    steps.flatten(settings, on_wait=pytest.fail)
    return {table: lake_table(home, table) for table in ("embed_events", "validation_errors")}


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["api", "full"])
def test_webhook_and_poll_in_any_order_end_in_the_same_lake(tmp_path: Path, shape: Any) -> None:
    with running_simulator(SimulatorOptions(embeds=25, event_shape=shape)) as simulator:
        orders = [
            ["poll", "push"],
            ["push", "poll"],
            ["push half", "flatten", "poll", "flatten", "push"],
        ]
        lakes = [lake_after(simulator, tmp_path / str(number), order) for number, order in enumerate(orders)]
        # The API's own shape has the embed's token, and not the one of the session that an event was of.
        channels = ["poll", "push"] if shape == "full" else []
        alone = {channel: lake_after(simulator, tmp_path / channel, [channel]) for channel in channels}
        truth = {event["uuid"]: event for event in simulator.truth()}
    events = lakes[0]["embed_events"]
    assert set(events["event_uuid"]) == set(truth)
    assert events["source"].unique().to_list() == ["both"]
    for lake in lakes[1:]:
        assert lake["embed_events"].equals(events)
        assert lake["validation_errors"].equals(lakes[0]["validation_errors"])
    for channel, lake in alone.items():
        assert lake["embed_events"]["source"].unique().to_list() == [{"poll": "api", "push": "webhook"}[channel]]
        assert lake["embed_events"].drop("source").sort(pl.all()).equals(events.drop("source").sort(pl.all()))
        assert lake["validation_errors"].equals(lakes[0]["validation_errors"])


@pytest.mark.slow
def test_the_vendors_retries_end_equal_to_the_truth(home: Path) -> None:
    """As the vendor's page has it: a time-out, 408 or 429 is tried again, two times at most."""
    simulation = Simulation(SimulatorOptions(embeds=60))
    bodies = list(full_events(simulation))
    draw = random.Random(11)
    full = JournalLimits(waiting_count=0)
    faults = {"leaves": 0, "cut": 0, "refused": 0}
    with running_receiver(home) as receiver:

        def attempt(body: bytes, fault: str | None) -> bool:
            if fault is None:
                return receiver.push(body).status_code == 200
            faults[fault] += 1
            if fault == "refused":
                with patch.object(receiver.server.journal, "_limits", full):
                    status = receiver.push(body).status_code
                assert status == 429
                return False
            head = (
                f"POST /events HTTP/1.1\r\nhost: x\r\nauthorization: {basic()}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            request = head.encode() + body
            with receiver.connect() as connection:
                # The vendor waits no longer: the event may have been stored all the same, or half of it have come.
                connection.sendall(request if fault == "leaves" else request[: -draw.randint(1, len(body))])
            return False

        for body in draw.sample(bodies, len(bodies)):
            is_stored = False
            for number in range(3):
                fault = draw.choice([*faults, None, None, None]) if number < 2 else None
                is_stored = is_stored or attempt(body, fault)
            assert is_stored
        assert min(faults.values()) > 20
        assert receiver.metric("duplicates_total") > 0
    ingest(home)
    assert sorted(landed_uuids(home)) == sorted(orjson.loads(body)["uuid"] for body in bodies)
    received = settings_of(home, oneschema_client_secrets=SECRETS)
    steps.flatten(received, on_wait=pytest.fail)
    lake = {row["event_uuid"]: row for row in lake_table(home, "embed_events").to_dicts()}
    assert len(lake) == len(bodies)
    for body in bodies:
        event = orjson.loads(body)
        row = lake[event["uuid"]]
        assert (row["embed_id"], row["event_type"], row["template_key"]) == (
            event["embed_id"],
            event["event_type"],
            event["template_key"],
        )


def test_a_sweep_takes_the_journal_in_before_it_polls(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=5)) as simulator:
        with running_receiver(home) as receiver:
            assert receiver.push(b'{"uuid":"event-deleted-at-the-source","created_at":1.7e9}').status_code == 200
            report = sweep(settings_for(simulator, home))
        assert report.webhook_event_count == 1
        assert report.landed_by_date["2023-11-14"] == 1
        truth = {event["uuid"] for event in simulator.truth()}
        assert set(landed_uuids(home)) == {"event-deleted-at-the-source", *truth}
