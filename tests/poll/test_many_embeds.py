"""Two hundred thousand known embeds: a sweep pays for what is due."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.home.times import EPOCH, micros
from pipelines.oneschema.client import Connection, open_client
from pipelines.oneschema.pace import Pace
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.listing import ListingCounts, list_embeds
from pipelines.poll.opening import open_state
from pipelines.poll.poll_state import Polled, PollState
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.poll.sweeping import raw_events, settings_for, sweep

KNOWN = 200_000
DUE = 50
HOUR = 3600.0


def walk_the_list(simulator: RunningSimulator, settings: Settings, state: PollState) -> ListingCounts:
    """Take in the whole list over HTTP, as a first sweep does before it asks for events."""

    async def run() -> ListingCounts:
        connection = Connection(simulator.url, settings.require_api_key(), 60, Pace())
        async with open_client(connection) as client:
            return await list_embeds(
                client,
                state,
                settings.home,
                TokenReader({}, {}, None),
                sweep_id="first",
                environment_name="Production",
                clock=lambda: EPOCH + timedelta(seconds=simulator.simulation.clock.now()),
                is_full=True,
            )

    return asyncio.run(run())


@pytest.mark.slow
def test_a_sweep_pays_for_what_is_due(home: Path) -> None:
    options = SimulatorOptions(embeds=KNOWN, days=365, days_ahead=1, paging="honoured", list_order="descending")
    with running_simulator(options) as simulator:
        clock = simulator.simulation.clock
        settings = settings_for(simulator, home)
        with open_state(settings.home) as state:
            known = walk_the_list(simulator, settings, state).listed_count
            # As if each had been asked: asking for all of them over HTTP is what this test has no time for.
            now = EPOCH + timedelta(seconds=clock.now())
            ids = sorted(simulator.simulation.listed_ids())
            due = {*ids[-DUE + 5 :], *ids[1000:6000:1000]}
            later = micros(now + timedelta(days=3))
            state.polled((Polled(id_, micros(now), micros(now) if id_ in due else later) for id_ in ids), "first")
            state.commit()
        assert known == len(ids) > 0.99 * KNOWN

        # New sessions begin, and some of the known ones move on.
        simulator.advance(0.02 * 24 * HOUR)
        fresh = set(simulator.simulation.listed_ids()) - set(ids)
        assert fresh
        simulator.simulation.requests.reset()
        report = sweep(settings, clock=lambda: EPOCH + timedelta(seconds=clock.now()))
        assert report.is_complete
        assert report.due_count >= DUE + len(fresh)
        assert simulator.simulation.requests.total <= report.due_count + 10
        assert fresh | due <= set(simulator.simulation.requests.events_by_embed)
        assert fresh <= set(raw_events(home)["embed_id"])
