"""A reconcile counts what the source still has of what is held, before it lands anything, killed on the way or not."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.home.times import EPOCH
from pipelines.oneschema.json_text import Json
from pipelines.poll.coverage import Coverage
from pipelines.poll.report import SweepKind, SweepReport
from pipelines.raw.landing import EventLanding, LandedBatch
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.poll.sweeping import raw_events, settings_for, sweep

HOUR = 3600.0


class KilledError(Exception):
    """Stands in for a kill: nothing after it happens, and the state's open transaction is gone."""


def sweep_now(settings: Settings, simulator: RunningSimulator, kind: SweepKind) -> SweepReport:
    clock = simulator.simulation.clock
    return sweep(settings, kind, clock=lambda: EPOCH + timedelta(seconds=clock.now()))


def date_of(created_at: float) -> str:
    return datetime.fromtimestamp(created_at, UTC).date().isoformat()


@pytest.mark.parametrize("is_killed", [False, True], ids=["undisturbed", "killed"])
def test_coverage(home: Path, is_killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator(SimulatorOptions(embeds=30, days=5)) as simulator:
        settings = settings_for(simulator, home)
        sweep_now(settings, simulator, "refresh")
        held = Counter(raw_events(home)["folder"])

        ids = simulator.simulation.world.ids
        now = simulator.simulation.clock.now()
        # One event that an earlier answer should have had, twice in two embeds' answers without a uuid, one later.
        missed: dict[str, Json] = {"uuid": "event-missed", "event_type": "embed_closed", "created_at": now - HOUR}
        simulator.simulation.plant(ids[-3], events=[missed])
        simulator.simulation.plant(ids[-4], events=[{"event_type": "a", "created_at": now - HOUR}])
        simulator.simulation.plant(ids[-5], events=[{"event_type": "b", "created_at": now - HOUR}])
        simulator.simulation.plant(ids[-6], events=[{**missed, "uuid": "event-new", "created_at": now + HOUR}])
        purged = Counter(date_of(event["created_at"]) for event in simulator.truth(ids[2]))
        simulator.simulation.delete(ids[2])
        simulator.advance(2 * HOUR)

        if is_killed:
            land = EventLanding.land
            landed: list[LandedBatch] = []

            def land_and_die(self: EventLanding, deliveries: pl.DataFrame, *arguments: Any) -> LandedBatch:
                landed.append(land(self, deliveries, *arguments))
                raise KilledError

            with monkeypatch.context() as patch:
                patch.setattr(EventLanding, "land", land_and_die)
                with pytest.raises(KilledError):
                    sweep_now(settings, simulator, "reconcile")
            assert landed[0].landed_count >= 4
        report = sweep_now(settings, simulator, "reconcile")
        assert report.is_complete
        assert report.is_resumed == is_killed

        found = {day["event_date"]: day for day in report.coverage or []}
        assert found.keys() == held.keys() | {date_of(now + HOUR)}
        for event_date, day in found.items():
            assert day["held_purged_count"] == purged[event_date]
            assert day["held_at_source_count"] == held[event_date] - purged[event_date]
            assert day["unheld_count"] == 3 * (event_date == date_of(now - HOUR))
        assert sum(day["new_at_source_count"] for day in found.values()) >= 1
        by_environment = report.coverage_by_environment or []
        assert {day["environment_name"] for day in by_environment} == {"Production"}
        assert {day["event_date"]: (day["source_count"], day["unheld_count"]) for day in by_environment} == {
            event_date: (sum(day[name] for name in Coverage.COUNTS), day["unheld_count"])
            for event_date, day in found.items()
            if any(day[name] for name in Coverage.COUNTS)
        }

        again = sweep_now(settings, simulator, "reconcile")
        assert sum(day["unheld_count"] + day["new_at_source_count"] for day in again.coverage or []) == 0
        simulator.simulation.deleted_at.clear()
        landed_uuids = set(raw_events(home)["event_uuid"].drop_nulls())
        assert {event["uuid"] for event in simulator.truth() if event["uuid"]} == landed_uuids
