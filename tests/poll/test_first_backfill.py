"""A first backfill of any size: what waits in memory is bounded, and how far it is can be seen."""

import time
from pathlib import Path

import pytest

from pipelines.orchestration.progress import LOG_INTERVAL_SECONDS, progress_sink
from pipelines.poll import sweep as sweep_module
from pipelines.poll.batches import Answer, BatchLander
from pipelines.poll.report import SweepProgress
from pipelines.raw.landing import LandedBatch
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import assert_raw_is_the_truth, settings_for, sweep

WORKERS = 2
BATCH_EVENTS = 30


@pytest.mark.slow
def test_answers_wait_for_the_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is, no more is asked than three batches, the queue and the workers hold."""
    with running_simulator(SimulatorOptions(embeds=150, days=6)) as simulator:
        asked = simulator.simulation.requests.events_by_embed
        land = BatchLander.land
        landed = 0
        ahead: list[int] = []
        sizes: list[int] = []

        def slowly(self: BatchLander, answers: list[Answer]) -> LandedBatch:
            nonlocal landed
            # Time for the workers to run ahead, if anything lets them; a faster machine only makes this test harder.
            time.sleep(0.1)
            ahead.append(len(asked) - landed - len(answers))
            sizes.append(len(answers))
            assert sum(answer.event_count for answer in answers[:-1]) < BATCH_EVENTS
            landed += len(answers)
            return land(self, answers)

        monkeypatch.setattr(BatchLander, "land", slowly)
        monkeypatch.setattr(sweep_module, "BATCH_EVENTS", BATCH_EVENTS)
        seen: list[SweepProgress] = []
        sweep(settings_for(simulator, home, embed_analytics_concurrency=WORKERS), on_progress=seen.append)
        assert len(ahead) > 10
        # Beside the batch that lands one that waits and one that is gathered, the queue's length, and one answer in the
        # hands of each worker.
        assert max(ahead) <= 2 * max(sizes) + 4 * WORKERS + WORKERS < 150 / 2
        assert_raw_is_the_truth(home, simulator)

        assert (seen[-1].done, seen[-1].total, seen[-1].seconds_left) == (150, 150, 0)
        assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
        assert seen[len(seen) // 2].seconds_left


def test_progress_in_the_log_says_done_total_rate_and_time_left_now_and_then() -> None:
    lines: list[str] = []
    observed: list[SweepProgress] = []
    sink = progress_sink(lines.append, observed.append)
    for second in range(int(3 * LOG_INTERVAL_SECONDS)):
        sink(SweepProgress(done=10 * second, failed=2, total=1000, landed_events=7 * second, seconds=second))
    assert lines == [
        "100 of 1000 embeds asked (2 failed), 70 new events, 10 embeds/s, 90 s left",
        "200 of 1000 embeds asked (2 failed), 140 new events, 10 embeds/s, 80 s left",
    ]
    assert observed[1].metadata == {
        "done": 200,
        "failed": 2,
        "total": 1000,
        "landed_events": 140,
        "seconds": 20,
        "embeds_per_second": 10,
        "seconds_left": 80,
    }
