"""Whatever the API does on the way, a sweep ends with raw equal to the truth, each event landed once."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import EmbedAnalyticsError
from pipelines.home.times import EPOCH
from pipelines.oneschema.json_text import Json
from pipelines.simulator.faults import FAULTS, parse_faults
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import assert_raw_is_the_truth, raw_events, raw_sweeps, settings_for, sweep

# A time-out of the simulator hangs for longer than the client waits; what it asks to wait for is short.
SHAPE = "retry-after=0.01,timeout-seconds=2"
TIMEOUT_SECONDS = 0.4


@pytest.mark.slow
@pytest.mark.parametrize("faults", [*(f"{name}=0.2" for name in FAULTS), "all=0.2", "all=0.6"])
def test_a_sweep_through_faults_lands_everything_once(home: Path, faults: str) -> None:
    # Requests that hang, and a Retry-After in whole seconds, are what takes time.
    embeds = 25 if faults.startswith(("timeout", "429-date", "all")) else 60
    with running_simulator(SimulatorOptions(embeds=embeds, faults=parse_faults(f"{faults},{SHAPE}"))) as simulator:
        settings = settings_for(simulator, home, embed_analytics_request_timeout_seconds=TIMEOUT_SECONDS)
        report = sweep(settings)
        assert report.is_complete
        assert not report.failures
        assert_raw_is_the_truth(home, simulator)
        assert sum(simulator.simulation.requests.faults.values()) > 0, "no fault struck"


def test_embeds_that_fail_leave_the_others_alone_and_are_asked_first_next_time(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=40)) as simulator:
        ids = simulator.simulation.world.ids
        broken = {ids[3]: "500", ids[10]: "400", ids[20]: "422", ids[25]: "object", ids[30]: "not-json", ids[35]: "404"}
        simulator.throw(broken_embeds=broken)
        settings = settings_for(simulator, home)
        report = sweep(settings)
        assert report.is_complete
        assert {failure.embed_id: failure.is_transient for failure in report.failures} == {
            ids[3]: True,
            ids[10]: False,
            ids[20]: False,
            ids[25]: False,
            ids[30]: True,
        }
        assert report.gone_count == 1
        assert raw_sweeps(home)["failed_count"].to_list() == [5]

        simulator.throw(broken_embeds={})
        simulator.simulation.requests.reset()
        again = sweep(settings)
        assert not again.failures
        # What can pass is asked again at once; what the API refused waits its turn.
        asked = simulator.simulation.requests.events_by_embed
        assert ids[3] in asked
        assert ids[30] in asked
        assert ids[10] not in asked

        # A reconcile asks every embed that is listed, the gone one too.
        sweep(settings, "reconcile")
        assert_raw_is_the_truth(home, simulator)


@pytest.mark.parametrize("breakage", ["500", "422", "object"])
def test_known_embeds_are_asked_though_the_list_fails(home: Path, breakage: str) -> None:
    with running_simulator(SimulatorOptions(embeds=30, days=2, days_ahead=1)) as simulator:
        clock = simulator.simulation.clock
        settings = settings_for(simulator, home)

        def now() -> datetime:
            return EPOCH + timedelta(seconds=clock.now())

        sweep(settings, clock=now)
        known = set(simulator.simulation.listed_ids())
        simulator.advance(6 * 3600)
        simulator.throw(broken_list=breakage)
        with pytest.raises(EmbedAnalyticsError, match="/v1/embeds"):
            sweep(settings, clock=now)
        assert raw_sweeps(home)["is_complete"].to_list() == [True, False]
        seen = {event["uuid"] for event in simulator.truth() if event["is_visible"] and event["embed_id"] in known}
        assert set(raw_events(home)["event_uuid"]) == seen

        simulator.throw(broken_list=None)
        sweep(settings, clock=now)
        assert_raw_is_the_truth(home, simulator)


@pytest.mark.slow
def test_an_embed_that_is_listed_and_answers_404_is_asked_ever_more_rarely(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=10, days=2)) as simulator:
        clock, ids = simulator.simulation.clock, simulator.simulation.world.ids
        settings = settings_for(simulator, home)
        simulator.throw(broken_embeds={ids[4]: "404"})
        requests = simulator.simulation.requests
        for _ in range(48):
            report = sweep(settings, clock=lambda: EPOCH + timedelta(seconds=clock.now()))
            assert not report.failures
            simulator.advance(3600)
        assert 4 <= requests.events_by_embed[ids[4]] <= 8
        # What it had is there as soon as it answers again.
        simulator.throw(broken_embeds={})
        simulator.advance(2 * 86_400)
        sweep(settings, clock=lambda: EPOCH + timedelta(seconds=clock.now()))
        assert_raw_is_the_truth(home, simulator)


@pytest.mark.parametrize("embed", [{"id": "x"}, {"id": None, "status": "imported"}, {}, [1], "embed", {"id": 2**64}])
def test_embeds_of_the_list_without_an_id_are_said_to_be_there(home: Path, embed: Json) -> None:
    with running_simulator(SimulatorOptions(embeds=10, days=2)) as simulator:
        simulator.simulation.plant(10**9, embed=embed)
        report = sweep(settings_for(simulator, home))
        assert report.is_complete
        (failure,) = report.failures
        assert failure.embed_id is None
        assert failure.error.startswith("1 embeds of GET /v1/embeds have no readable id")
        assert raw_sweeps(home)["failed_count"].to_list() == [1]


def test_items_that_are_no_events_are_landed_and_stop_nothing(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=20)) as simulator:
        ids = simulator.simulation.world.ids
        simulator.throw(broken_embeds={ids[2]: "scalars"})
        report = sweep(settings_for(simulator, home))
        assert not report.failures
        assert report.landed_event_count == report.delivered_event_count
