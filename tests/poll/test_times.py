"""How an event says when it happened decides nothing but its own row: the poll asks, and keeps, all the same."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from pipelines.home.times import EPOCH, micros
from pipelines.oneschema.json_text import Json
from pipelines.poll.opening import open_state
from pipelines.simulator.odd_times import TimeShape
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.poll.sweeping import assert_raw_is_the_truth, raw_events, settings_for, sweep

HOUR = 3600.0
DAY = 24 * HOUR
LONG_DAYS = 140


def now_of(simulator: RunningSimulator) -> datetime:
    return EPOCH + timedelta(seconds=simulator.simulation.clock.now())


@pytest.mark.slow
@pytest.mark.parametrize("shape", get_args(TimeShape))
def test_a_session_of_many_days_is_asked_and_kept_whole_in_every_shape(home: Path, shape: TimeShape) -> None:
    options = SimulatorOptions(embeds=0, days=1, retention_days=30, created_at_shape=shape)
    with running_simulator(options) as simulator:
        start = simulator.simulation.clock.now()
        daily: list[Json] = [
            {"uuid": f"event-{day}", "event_type": "sheet_operation_performed", "created_at": start + day * DAY - 60}
            for day in range(1, LONG_DAYS + 1)
        ]
        simulator.simulation.plant(7, events=daily)
        settings = settings_for(simulator, home, oneschema_retention_days=30)
        for _ in range(LONG_DAYS):
            simulator.advance(DAY)
            sweep(settings, clock=lambda: now_of(simulator))
        assert simulator.simulation.requests.events_by_embed[7] == LONG_DAYS
        raw = raw_events(home)
        assert sorted(raw["event_uuid"]) == sorted(f"event-{day}" for day in range(1, LONG_DAYS + 1))
        assert "unknown" not in set(raw["folder"])


@pytest.mark.parametrize("wrong", [0, 1e9, "thousandth", "ten years on", "9999-12-31T00:00:00Z"])
def test_a_wrong_date_settles_neither_its_session_nor_a_neighbour(home: Path, wrong: object) -> None:
    with running_simulator(SimulatorOptions(embeds=0, days=1)) as simulator:
        start = simulator.simulation.clock.now()
        named = {"thousandth": round(start / 1000, 3), "ten years on": start + 3652 * DAY}
        created_at = named.get(str(wrong), wrong)
        # A world's own events show up by their created_at; this one is there at once, whatever it says.
        events: list[Json] = [{"uuid": "event-wrong", "event_type": "embed_initialized", "created_at": str(created_at)}]
        simulator.simulation.plant(10, events=[{"uuid": "a", "event_type": "b", "created_at": start + 1.5 * HOUR}])
        simulator.simulation.plant(11, events=events)
        simulator.simulation.plant(11, events=[{"uuid": "c", "event_type": "d", "created_at": start + 30 * DAY}])
        settings = settings_for(simulator, home)
        # An idle session is asked within half its idle time.
        for hours in (0, 1, 2, 3, 24, 240, 718, 1100):
            simulator.simulation.clock.advance(start + hours * HOUR - simulator.simulation.clock.now())
            sweep(settings, clock=lambda: now_of(simulator))
        # A year later the wrong date holds nothing open.
        assert_raw_is_the_truth(home, simulator)
        simulator.advance(400 * DAY)
        sweep(settings, clock=lambda: now_of(simulator))
        simulator.simulation.requests.reset()
        sweep(settings, clock=lambda: now_of(simulator))
        assert not simulator.simulation.requests.events_by_embed


@pytest.mark.slow
def test_an_odd_tenant_is_kept_whole(home: Path) -> None:
    options = SimulatorOptions(embeds=60, days=20, days_ahead=20, odd_dates=True)
    with running_simulator(options) as simulator:
        settings = settings_for(simulator, home)
        for _ in range(40):
            sweep(settings, clock=lambda: now_of(simulator))
            simulator.advance(12 * HOUR)
        sweep(settings, "reconcile", clock=lambda: now_of(simulator))
        assert_raw_is_the_truth(home, simulator)


@pytest.mark.parametrize("days", [20, 200, -20, -200])
def test_a_clock_that_was_wrong_once_hides_nothing(home: Path, days: int) -> None:
    with running_simulator(SimulatorOptions(embeds=25, days=2, days_ahead=2)) as simulator:
        settings = settings_for(simulator, home)
        simulator.simulation.plant(2**40, embed={"id": 2**40, "status": "initialized"})
        listed = set(simulator.simulation.listed_ids())
        sweep(settings, clock=lambda: now_of(simulator) + timedelta(days=days))
        simulator.advance(12 * HOUR)
        sweep(settings, clock=lambda: now_of(simulator))
        asked = simulator.simulation.requests.events_by_embed
        since = simulator.simulation.clock.now() - DAY
        was_open = {event["embed_id"] for event in simulator.truth() if event["created_at"] > since} & listed
        assert was_open
        assert {asked[embed_id] for embed_id in was_open} == {2}, "an open session was not asked again"
        assert_raw_is_the_truth(home, simulator)
        # And from there on as if nothing had been.
        simulator.advance(12 * HOUR)
        sweep(settings, clock=lambda: now_of(simulator))
        assert_raw_is_the_truth(home, simulator)


def test_what_is_due_beyond_the_rule_is_due_now(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=3, days=1)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings, clock=lambda: now_of(simulator))
        far = micros(now_of(simulator) + timedelta(days=46))
        with open_state(settings.home) as state:
            state.connection.execute("update embeds set due_at = ?", (far,))
            state.commit()
        simulator.simulation.requests.reset()
        sweep(settings, clock=lambda: now_of(simulator))
        assert set(simulator.simulation.requests.events_by_embed) == set(simulator.simulation.listed_ids())
