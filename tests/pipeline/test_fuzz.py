"""Hostile answers and webhook bodies: no traceback, no hang, and every event that a reader of JSON finds is counted."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pipelines import steps
from pipelines.oneschema.client import RetryPolicy
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from pipelines.warehouse.published import connect_published
from tests.pipeline.hostile import Hostile, answer, push
from tests.poll.sweeping import raw_events, settings_for, sweep
from tests.proving import FACTOR, seeds
from tests.webhooks.receiving import SECRET, ingest, running_receiver, settings_of

# Of each kind, in each of the seeds: `make prove` makes 100,000 of both kinds together.
BODIES = 2_500 if FACTOR > 1 else 400
ONCE = RetryPolicy(attempts=1, budget_seconds=60, wait_initial_seconds=0.002, wait_max_seconds=0.02)


def slowest(cases: list[Hostile], take: Callable[[Hostile], None]) -> float:
    """CPU seconds of this process for the slowest of the cases: what it waits for is another's."""
    longest = 0.0
    for case in cases:
        began = time.process_time()
        take(case)
        longest = max(longest, time.process_time() - began)
    return longest


def balance(settings: Settings, expected: int) -> None:
    """Flatten and publish what raw holds: the blocking checks hold, and each delivery is somewhere."""
    report = steps.flatten(settings, on_wait=pytest.fail)
    assert report.delivery_count == expected
    assert report.event_count + report.merged_count + report.quarantined_count == expected
    steps.publish(settings, on_wait=pytest.fail)
    with connect_published(settings.home) as connection:
        assert connection.execute("select count(*) from stg_embed_events").fetchone() == (report.event_count,)


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(1))
def test_hostile_answers_are_accounted_for(tmp_path: Path, seed: int) -> None:
    draw = Random(seed)
    cases = [answer(draw, 10 * number) for number in range(BODIES)]
    with running_simulator(SimulatorOptions(embeds=0)) as simulator:
        for embed_id, case in enumerate(cases, 1):
            simulator.simulation.plant(embed_id, body=case.body)
        settings = settings_for(simulator, tmp_path / "home", embed_analytics_concurrency=4)
        # Packed bodies need their header; the simulator sends plain ones.
        plain = [not case.headers for case in cases]
        report = sweep(settings, "reconcile", retry=ONCE)
        expected = sum(case.events or 0 for case, is_plain in zip(cases, plain, strict=True) if is_plain)
        failed = {failure.embed_id for failure in report.failures}
        assert failed == {n for n, case in enumerate(cases, 1) if case.events is None or case.headers}
        assert report.is_complete
        assert raw_events(tmp_path / "home").height == expected
        # What was cut comes whole the next time.
        for embed_id, case in enumerate(cases, 1):
            if case.headers or case.events is None:
                simulator.simulation.plant(embed_id, body=b"[]")
        again = sweep(settings, "reconcile", retry=ONCE)
        assert not again.failures
        assert again.landed_event_count == 0
        balance(settings, expected)


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(1))
def test_hostile_pushes_are_accounted_for(tmp_path: Path, seed: int) -> None:
    draw = Random(seed)
    home = tmp_path / "home"
    cases = [push(draw, number) for number in range(BODIES)]
    statuses: list[int] = []
    with running_receiver(home) as receiver:
        longest = slowest(cases, lambda case: statuses.append(receiver.push(case.body, **case.headers).status_code))
    assert set(statuses) == {200}
    if FACTOR > 1:
        # A time, which CI does not compare: there the linear-time tests stand for it.
        assert longest < 1
    ingest(home)
    # A body that is not JSON is one delivery for each content.
    unreadable = {hashlib.sha256(case.body).digest() for case in cases if case.events is None}
    expected = sum(case.events or 0 for case in cases) + len(unreadable)
    assert raw_events(home).height == expected
    balance(settings_of(home), expected)
    assert SECRET not in "".join(str(value) for value in raw_events(home).to_dicts())
