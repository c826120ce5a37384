"""SIGKILL and SIGTERM under load: every event that was answered 200 is in raw and in the lake, once."""

import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import orjson
import pytest

from pipelines import steps
from pipelines.raw import held
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.webhooks.segments import Segment
from tests.proving import seeds
from tests.webhooks.receiving import (
    ReceiverProcess,
    basic,
    full_events,
    ingest,
    journal_files,
    lake_table,
    landed_uuids,
    settings_of,
)

THREADS = 8


class Load:
    """Pushes events from several threads until there are none left or the receiver is gone."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies = iter(bodies)
        self.sent: set[str] = set()
        self.stored: set[str] = set()
        self.lock = threading.Lock()

    def push(self, url: str, end_at: int, end: Callable[[], None]) -> None:
        """Push until `end` has had its effect. It is called once, when `end_at` more events are stored."""
        before = len(self.stored)
        ended = threading.Event()

        def work() -> None:
            with httpx.Client(base_url=url, headers={"authorization": basic()}, timeout=30, trust_env=False) as client:
                while True:
                    with self.lock:
                        body = next(self.bodies, None)
                        if body is None:
                            return
                        uuid = orjson.loads(body)["uuid"]
                        self.sent.add(uuid)
                    try:
                        answer = client.post("/events", content=body)
                    except httpx.TransportError:
                        return
                    assert answer.status_code == 200
                    with self.lock:
                        self.stored.add(uuid)
                        is_last = len(self.stored) - before >= end_at and not ended.is_set()
                        if is_last:
                            ended.set()
                    if is_last:
                        end()

        with ThreadPoolExecutor(THREADS) as pool:
            for future in [pool.submit(work) for _ in range(THREADS)]:
                future.result()
        assert ended.is_set(), "there were too few events"


def assert_kept(home: Path, load: Load) -> None:
    landed = landed_uuids(home)
    assert len(landed) == len(set(landed)), "an event landed twice"
    assert load.stored <= set(landed), "an event that was answered 200 is lost"
    assert set(landed) <= load.sent


def world() -> list[bytes]:
    return list(full_events(Simulation(SimulatorOptions(embeds=700))))


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(1))
def test_killed_at_random_moments_nothing_acknowledged_is_lost(home: Path, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    load = Load(world())
    for round_number in range(4):
        with ReceiverProcess(home, tmp_path) as receiver:
            load.push(receiver.url, draw.randint(1, 400), lambda process=receiver: process.process.kill())
            assert receiver.end(signal.SIGKILL) == -signal.SIGKILL
        if round_number % 2:
            ingest(home)
            assert journal_files(home) == []
            assert_kept(home, load)
    assert len(load.stored) > 100
    settings = settings_of(home)
    steps.flatten(settings, on_wait=pytest.fail)
    in_lake = lake_table(home, "embed_events")["event_uuid"].to_list()
    assert sorted(in_lake) == sorted(landed_uuids(home))
    assert load.stored <= set(in_lake)


@pytest.mark.slow
def test_stopped_gracefully_under_load_it_keeps_what_it_accepted(home: Path, tmp_path: Path) -> None:
    load = Load(world())
    with ReceiverProcess(home, tmp_path) as receiver:
        load.push(receiver.url, 200, receiver.process.terminate)
        assert receiver.end(signal.SIGTERM) == 0
        assert receiver.log.read_text() == ""
    ingest(home)
    assert_kept(home, load)
    assert len(load.stored) >= 200


@pytest.mark.slow
def test_a_refresh_beside_the_load_takes_all_that_was_acknowledged_before(home: Path, tmp_path: Path) -> None:
    load = Load(world())
    with ReceiverProcess(home, tmp_path) as receiver:

        def refresh_and_stop() -> None:
            stored = set(load.stored)
            ingest(home)
            assert stored <= set(landed_uuids(home))
            assert journal_files(home), "the segment at work was removed"
            receiver.process.terminate()

        load.push(receiver.url, 150, refresh_and_stop)
        receiver.end(signal.SIGTERM)
    ingest(home)
    assert_kept(home, load)
    assert journal_files(home) == []


class KilledError(Exception):
    """Stands in for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before remembering", "before removing"])
def test_an_ingest_that_dies_is_done_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bodies = world()[:50]
    with ReceiverProcess(home, tmp_path) as receiver:
        Load(bodies).push(receiver.url, 50, receiver.process.terminate)
        receiver.end(signal.SIGTERM)

    def die(*_: object) -> None:
        raise KilledError

    if moment == "before removing":
        monkeypatch.setattr(Segment, "remove", die)
    else:
        monkeypatch.setattr(held, "remember", die)
    with pytest.raises(KilledError):
        ingest(home)
    assert journal_files(home), "removed before it was done"
    monkeypatch.undo()
    ingest(home)
    assert sorted(landed_uuids(home)) == sorted(orjson.loads(body)["uuid"] for body in bodies)
    assert journal_files(home) == []
