"""A day's verdict along a home's life: sweeps of an account that deletes events, a receiver, damaged files."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import steps
from pipelines.home.layout import Home
from pipelines.home.times import EPOCH
from pipelines.oneschema.client import RetryPolicy
from pipelines.oneschema.json_text import Json
from pipelines.poll.report import SweepKind
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse import build as build_module
from pipelines.webhooks.journal import JournalLimits
from tests.poll.sweeping import settings_for, sweep
from tests.warehouse.answers import published_rows
from tests.webhooks.receiving import running_receiver

pytestmark = pytest.mark.slow

HOUR, DAY = 3600.0, 86_400.0
RETENTION_DAYS = 10
UNPROVEN = "complete as far as the source can say"


class Life:
    """A home that polls a simulated account, at the account's own time."""

    def __init__(self, simulator: RunningSimulator, home: Path) -> None:
        self.simulator = simulator
        self.home = home
        self.settings = settings_for(simulator, home, oneschema_retention_days=RETENTION_DAYS)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.simulator.simulation.clock.now())

    def sweep(self, kind: SweepKind = "refresh") -> None:
        sweep(self.settings, kind, clock=lambda: self.now, retry=RetryPolicy(attempts=1))

    def days(self) -> dict[date, dict[str, Any]]:
        """What is published now says of the days of Production."""
        steps.publish(self.settings, on_wait=lambda _: None)
        rows = published_rows(Home(self.home), "from meta_completeness where environment_name = 'Production'")
        return {row["event_date"]: row for row in rows}


@pytest.fixture
def alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    @contextmanager
    def begin(**options: Any) -> Generator[Life]:
        with running_simulator(SimulatorOptions(retention_days=RETENTION_DAYS, **options)) as simulator:
            life = Life(simulator, tmp_path / "home")
            monkeypatch.setattr(build_module, "utc_now", lambda: life.now)
            yield life

    return begin


def truth_by_day(simulator: RunningSimulator) -> Counter[date]:
    return Counter(datetime.fromtimestamp(event["created_at"], UTC).date() for event in simulator.truth())


def test_a_day_is_proven_lost_and_damaged(alive: Callable[..., Any]) -> None:
    with alive(embeds=12, days=4) as life:
        simulator: RunningSimulator = life.simulator
        life.sweep()
        assert {row["verdict"] for row in life.days().values()} == {UNPROVEN}

        # The day after, every session answers.
        simulator.advance(18 * HOUR)
        reconciled_at = life.now
        life.sweep("reconcile")
        days = life.days()
        truth = truth_by_day(simulator)
        assert truth
        for day, row in days.items():
            is_over = day < reconciled_at.date()
            assert row["verdict"] == ("complete" if is_over else UNPROVEN), row
            assert row["proven_at"] == (reconciled_at if is_over else None)
            assert (row["source_count"], row["held_count"], row["unheld_count"]) == (truth[day], truth[day], 0)
        assert days.keys() >= truth.keys()

        # A session that cannot be asked has an event on this day, which is deleted before it can.
        lost_on = life.now.date()
        embed_id = simulator.simulation.world.ids[0]
        event: dict[str, Json] = {
            "uuid": "event-lost",
            "event_type": "embed_closed",
            "created_at": simulator.simulation.clock.now() + 60,
        }
        simulator.simulation.plant(embed_id, events=[event])
        simulator.throw(broken_embeds={embed_id: "500"})
        for number in range(RETENTION_DAYS + 1):
            simulator.advance(DAY)
            life.sweep("reconcile" if number % 3 == 0 else "refresh")
            if number == 1:
                row = life.days()[lost_on]
                assert (row["verdict"], "failures in meta_sweeps: 1" in row["reason"]) == (UNPROVEN, True), row
        row = life.days()[lost_on]
        assert (row["verdict"], "sessions had no answer" in row["gaps"]) == ("incomplete", True), row

        # Too late it answers again. What is lost stays lost, and the days that nobody missed are proven again.
        simulator.throw(broken_embeds={})
        simulator.advance(HOUR)
        life.sweep("reconcile")
        days = life.days()
        assert days[lost_on]["verdict"] == "incomplete"
        last = max(days)
        assert {days[last - timedelta(days=before)]["verdict"] for before in range(1, 8)} == {"complete"}
        held = published_rows(Home(life.home), "select event_uuid from stg_embed_events")
        assert "event-lost" not in {row["event_uuid"] for row in held}
        assert {day for day, row in days.items() if row["verdict"] == "complete"} >= {
            day for day in truth if day < lost_on
        }


def test_a_damaged_file_is_a_gap_until_what_it_held_is_back(alive: Callable[..., Any]) -> None:
    with alive(embeds=6, days=3) as life:
        simulator: RunningSimulator = life.simulator
        life.sweep()
        simulator.advance(DAY)
        life.sweep("reconcile")
        day, row = next(iter(sorted(life.days().items())))
        assert row["verdict"] == "complete"
        (file,) = (life.home / "raw" / "embed_events" / f"event_date={day}").glob("*.parquet")
        content = bytearray(file.read_bytes())
        content[20] ^= 1
        file.write_bytes(content)
        assert "files of raw are damaged (1)" in life.days()[day]["reason"]
        # Where it is moved away, fewer events are held than the reconcile found.
        file.unlink()
        row = life.days()[day]
        assert f"events that a reconcile found are not held ({row['source_count']})" in row["reason"]
        assert (row["verdict"], row["held_count"]) == ("incomplete", 0)
        life.sweep()
        row = life.days()[day]
        assert (row["verdict"], row["held_count"]) == ("complete", row["source_count"])


def test_a_refused_webhook_is_a_gap_until_a_reconcile_has_asked(alive: Callable[..., Any]) -> None:
    with alive(embeds=6, days=3, now=None) as life:
        simulator: RunningSimulator = life.simulator
        with running_receiver(life.home, limits=JournalLimits(waiting_count=0)) as receiver:
            assert receiver.push(b'{"uuid": "event-refused"}').status_code == 429
        life.sweep()
        refused_on = published_day(life)
        row = life.days()[refused_on]
        assert (row["verdict"], row["gaps"]) == ("incomplete", "webhooks were refused (overloaded: 1)")
        simulator.advance(2 * DAY)
        life.sweep("reconcile")
        row = life.days()[refused_on]
        assert (row["verdict"], row["gap_count"], row["closed_gap_count"]) == ("complete", 0, 1)


def published_day(life: Life) -> date:
    life.days()
    (row,) = published_rows(Home(life.home), "select began_at::date as refused_on from meta_webhook_gaps")
    return row["refused_on"]
