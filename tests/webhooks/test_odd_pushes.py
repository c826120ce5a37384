"""A vendor that pushes every shape that the simulator knows: what was answered 200 is an event or a row of the
unreadable, and the simulator says which."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from pipelines import steps
from pipelines.simulator.options import PushShape, SimulatorOptions
from pipelines.simulator.pushes import Push, pushes
from pipelines.simulator.server import running_simulator
from pipelines.simulator.simulation import Simulation
from pipelines.simulator.truth import Truth
from pipelines.webhooks.journal import JournalLimits
from tests.poll.sweeping import raw_events, settings_for, sweep
from tests.proving import seeds
from tests.webhooks.receiving import ingest, lake_table, running_receiver, settings_of

SHAPES: tuple[PushShape, ...] = get_args(PushShape)


def digest_of(push: Push) -> str:
    return hashlib.blake2b(push.body, digest_size=16).hexdigest()


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(3))
def test_nothing_that_was_acknowledged_is_missing(home: Path, seed: int) -> None:
    simulation = Simulation(SimulatorOptions(embeds=60, seed=seed, push_shapes=SHAPES))
    sent = list(pushes(simulation))
    assert {push.shape for push in sent} == {None, *SHAPES}
    draw = random.Random(seed)
    # Some come twice, as after a time-out, and the journal is taken in meanwhile.
    order = draw.sample(sent, len(sent)) + draw.sample(sent, len(sent) // 5)
    with (
        running_receiver(home, limits=JournalLimits(segment_bytes=50_000)) as receiver,
        ThreadPoolExecutor(4) as pool,
    ):

        def send(push: Push) -> int:
            return receiver.push(push.body, **push.headers).status_code

        for start in range(0, len(order), 150):
            assert set(pool.map(send, order[start : start + 150])) == {200}
            ingest(home)
    ingest(home)
    unreadable = [push for push in order if not push.is_readable]
    files = sorted((home / "raw" / "unreadable").glob("*.parquet"))
    rows = pl.concat([pl.read_parquet(path) for path in files])
    assert sorted(rows["digest"]) == sorted(map(digest_of, unreadable))
    readable = {push.uuid for push in sent if push.is_readable}
    landed = raw_events(home)
    assert sorted(landed["event_uuid"].drop_nulls()) == sorted(readable)
    report = steps.flatten(settings_of(home), on_wait=pytest.fail)
    assert report.event_count == len(readable)
    assert report.quarantined_count == len({digest_of(push) for push in unreadable})
    assert report.delivery_count == report.event_count + report.merged_count + report.quarantined_count
    # A credential in a body that cannot be read is one that nobody could look for by its field's name.
    credentials = Truth(simulation).credentials()
    kept = "\n".join(rows["text"].drop_nulls()) + "\n".join(landed["extra"].drop_nulls())
    assert "event-" in kept
    for secret in [*credentials["embed_tokens"], *credentials["jwt_signatures"]]:
        assert secret not in kept


@pytest.mark.slow
def test_pushed_in_any_shape_and_polled_with_a_bom_it_is_the_lake_of_plain_ones(tmp_path: Path) -> None:
    lakes: list[pl.DataFrame] = []
    every: list[tuple[PushShape, ...]] = [(), ("gzip", "deflate", "bom", "upgrade")]
    for shapes in every:
        options = SimulatorOptions(embeds=15, push_shapes=shapes, answers_with_bom=bool(shapes))
        home = tmp_path / str(len(shapes))
        with running_simulator(options) as simulator:
            with running_receiver(home) as receiver:
                for push in pushes(simulator.simulation):
                    assert receiver.push(push.body, **push.headers).json() == {"status": "stored"}
            settings = settings_for(simulator, home)
            sweep(settings)
            assert steps.flatten(settings, on_wait=pytest.fail).quarantined_count == 0
        lakes.append(lake_table(home, "embed_events"))
    assert lakes[0]["source"].unique().to_list() == ["both"]
    assert lakes[0].equals(lakes[1])
