"""What a sweep records of times in which events could be lost, and of clocks that were wrong."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.home.layout import Home
from pipelines.home.times import EPOCH
from pipelines.oneschema.client import RetryPolicy
from pipelines.poll import sweep as sweep_module
from pipelines.poll.opening import open_state
from pipelines.poll.poll_state import OpenSweep, Polled, PollState
from pipelines.poll.report import SweepKind, SweepReport
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.poll.sweeping import raw_sweeps, settings_for, sweep

DAY = 86_400.0
ONE_TRY = RetryPolicy(attempts=1)


def moment_of(simulator: RunningSimulator) -> datetime:
    return EPOCH + timedelta(seconds=simulator.simulation.clock.now())


def sweep_now(settings: Settings, simulator: RunningSimulator, kind: SweepKind = "refresh") -> SweepReport:
    return sweep(settings, kind, clock=lambda: moment_of(simulator), retry=ONE_TRY)


def unseen_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["unseen_embed_count"], row["unseen_from"], row["unseen_until"]


@pytest.mark.slow
def test_an_answer_that_came_too_late_says_what_could_be_deleted_before(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=12, days=2, retention_days=10)) as simulator:
        settings = settings_for(simulator, home, oneschema_retention_days=10)
        first = moment_of(simulator)
        sweep_now(settings, simulator)
        ids = simulator.simulation.world.ids
        simulator.throw(broken_embeds={ids[0]: "500", ids[1]: "422"})
        for _ in range(12):
            simulator.advance(DAY)
            assert unseen_of(vars(sweep_now(settings, simulator)))[0] == 0
        # One is answered in a sweep that is killed, the other when it is resumed: the record has both.
        answered = moment_of(simulator)
        simulator.throw(broken_embeds={ids[1]: "422"})

        def recorded_never(_: Home, __: dict[str, Any]) -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep_module, "land_sweep", recorded_never)
            with pytest.raises(KeyboardInterrupt):
                sweep_now(settings, simulator, "reconcile")
        simulator.throw(broken_embeds={})
        simulator.advance(3600)
        report = sweep_now(settings, simulator, "reconcile")
        assert report.is_resumed
        assert unseen_of(raw_sweeps(home).row(-1, named=True)) == (2, first, answered + timedelta(hours=1, days=-10))
        assert unseen_of(vars(sweep_now(settings, simulator, "reconcile"))) == (0, None, None)
        # Without the setting nothing is claimed.
        assert sweep_now(settings_for(simulator, home), simulator).unseen_embed_count is None


def test_a_settled_embed_was_not_to_be_asked(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=4, days=2, retention_days=10)) as simulator:
        settings = settings_for(simulator, home, oneschema_retention_days=10, embed_analytics_settle_after_days=3)
        simulator.advance(5 * DAY)
        sweep_now(settings, simulator)
        simulator.advance(60 * DAY)
        report = sweep_now(settings, simulator, "reconcile")
        assert report.fetched_count == 4
        assert report.unseen_embed_count == 0


@pytest.mark.parametrize("is_state_new", [False, True], ids=["remembered", "new-state"])
def test_sweeps_whose_clock_was_ahead_are_named_once(home: Path, is_state_new: bool) -> None:
    with running_simulator(SimulatorOptions(embeds=4, days=2)) as simulator:
        settings = settings_for(simulator, home)
        now = moment_of(simulator)

        def sweep_at(at: datetime, kind: SweepKind = "refresh") -> SweepReport:
            return sweep(settings, kind, clock=lambda: at)

        assert sweep_at(now).clock_ahead_sweeps is None
        ahead = [sweep_at(now + timedelta(days=days)).sweep_id for days in (2, 3)]
        if is_state_new:
            with open_state(Home(home)) as state:
                state.set_fact("latest_sweep_at", None)
                state.commit()
        right = sweep_at(now + timedelta(hours=1), "reconcile")
        assert right.clock_ahead_sweeps == ahead
        (noted,) = raw_sweeps(home)["clock_ahead_sweeps"].drop_nulls()
        assert json.loads(noted) == ahead
        # When their time has come, they say nothing new.
        assert sweep_at(now + timedelta(days=4)).clock_ahead_sweeps is None


def test_what_a_killed_sweep_knew_of_clocks_is_in_its_record(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=2, days=2)) as simulator:
        settings = settings_for(simulator, home)
        now = moment_of(simulator)
        with open_state(Home(home)) as state:
            begun = (now - timedelta(days=3)).isoformat()
            state.begin_sweep(OpenSweep("crashed", "refresh", begun, None, None, ["ahead"]))
            state.commit()
        sweep(settings, clock=lambda: now)
        (crashed,) = raw_sweeps(home).filter(sweep_id="crashed").rows(named=True)
        assert json.loads(crashed["clock_ahead_sweeps"]) == ["ahead"]


def test_an_answer_in_part_is_asked_for_again_by_a_resumed_reconcile(home: Path) -> None:
    with open_state(Home(home)) as state:
        connection = state.connection
        for embed_id in (1, 2):
            connection.execute(
                "insert into embeds (embed_id, jwt_status, first_seen_at) values (?, 'missing', 0)", (embed_id,)
            )
        state.polled([Polled(1, 1, None), Polled(2, 1, None, is_whole=False)], "reconcile")
        assert state.not_polled_in("reconcile") == [2]


def test_a_reconcile_of_a_former_version_is_not_counted_by_environment(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=6, days=2)) as simulator:
        settings = settings_for(simulator, home)
        sweep_now(settings, simulator)
        with closing(sqlite3.connect(home / "state" / "poll.sqlite")) as connection:
            connection.executescript("""
                drop table coverage;
                create table coverage (
                    embed_id integer, event_date text, held_at_source_count integer, unheld_count integer,
                    new_at_source_count integer, primary key (embed_id, event_date)
                ) without rowid;
                insert into coverage values (1, '2026-01-01', 5, 0, 0);
            """)
            sweep_id = "20260101T000000000000-reconcile-0000"
            state = PollState(Home(home), connection)
            begun = moment_of(simulator) - timedelta(minutes=1)
            state.begin_sweep(OpenSweep(sweep_id, "reconcile", begun.isoformat(), None, None))
            state.set_fact("coverage", json.dumps({"sweep_id": sweep_id, "held": {"2026-01-01": 5}}))
            state.commit()
        (home / "state" / "poll.sqlite.closed").unlink()
        report = sweep_now(settings, simulator, "reconcile")
        assert (report.sweep_id, report.is_complete) == (sweep_id, True)
        assert {"event_date": "2026-01-01", "held_at_source_count": 5} in [
            {name: day[name] for name in ("event_date", "held_at_source_count")} for day in report.coverage or []
        ]
        assert report.coverage_by_environment is None
        assert sweep_now(settings, simulator, "reconcile").coverage_by_environment
