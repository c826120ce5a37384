"""Sixty days of hourly sweeps on the simulator's clock: what could be seen is held, at a fraction of the cost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.home.times import EPOCH
from pipelines.poll.frontier import FrontierRule
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import raw_events, settings_for, sweep

DAYS = 60
HOUR = 3600.0
DAY = 24 * HOUR
RETENTION_DAYS = 20
SETTLE_DAYS = 12
# Weekly, as the schedule has it.
RECONCILE_EVERY = 7 * 24


def longest_wait(rule: FrontierRule, idle_seconds: float) -> float:
    """The longest wait, in seconds, that the frontier's docstring allows after so many seconds of idleness."""
    idle = timedelta(seconds=idle_seconds)
    if idle <= rule.idle_after:
        return HOUR
    if idle > rule.settle_after:
        return RECONCILE_EVERY * HOUR
    return min(idle * rule.growth, rule.longest_interval).total_seconds() + HOUR


@pytest.mark.slow
def test_sixty_days(home: Path) -> None:
    options = SimulatorOptions(
        embeds=4, days=1, days_ahead=DAYS, retention_days=RETENTION_DAYS, late_visibility=True, seed=5
    )
    with running_simulator(options) as simulator:
        clock = simulator.simulation.clock
        settings = settings_for(
            simulator,
            home,
            oneschema_retention_days=RETENTION_DAYS,
            embed_analytics_settle_after_days=SETTLE_DAYS,
            embed_analytics_concurrency=4,
        )
        rule = FrontierRule.from_settings(settings)
        every_embed_every_time = 0
        start = clock.now()
        for hour in range(DAYS * 24):
            kind = "reconcile" if hour % RECONCILE_EVERY == RECONCILE_EVERY - 1 else "refresh"
            report = sweep(settings, kind, clock=lambda: EPOCH + timedelta(seconds=clock.now()))
            assert not report.failures
            every_embed_every_time += len(simulator.simulation.listed_ids())
            if hour in (500, 900):
                # Embeds are deleted at the vendor, one young and one old.
                for embed_id in (simulator.simulation.listed_ids()[0], simulator.simulation.listed_ids()[-1]):
                    simulator.simulation.delete(embed_id)
            simulator.advance(HOUR)
        end = start + DAYS * DAY - HOUR

        held = set(raw_events(home)["event_uuid"])
        requests = simulator.simulation.requests.total
        truth = sorted((event for event in simulator.truth()), key=lambda event: event["visible_at"])

    last_seen: dict[int, float] = {}
    missed: list[tuple[int, datetime, float]] = []
    resumed_late = 0
    for event in truth:
        embed_id, visible_at = event["embed_id"], event["visible_at"]
        # Of a session that is new, the first event makes it known.
        idle = visible_at - last_seen.get(embed_id, max(visible_at, start))
        resumed_late += idle > DAY
        last_seen[embed_id] = max(last_seen.get(embed_id, 0.0), event["created_at"])
        gone_at = min(event["created_at"] + RETENTION_DAYS * DAY, event["deleted_at"] or end, end)
        if event["uuid"] not in held and gone_at - max(visible_at, start) > longest_wait(rule, idle):
            missed.append((embed_id, datetime.fromtimestamp(visible_at, UTC), idle / HOUR))
    assert not missed
    assert resumed_late >= 8, "too few sessions were resumed to show anything"
    assert len(truth) > 1000
    assert len(held) > 0.98 * len(truth)
    assert requests <= 0.15 * every_embed_every_time
