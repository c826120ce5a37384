"""With the retention period known, embeds that nobody could ask are counted before they lose an event."""

from datetime import timedelta
from pathlib import Path

from pipelines.home.times import EPOCH
from pipelines.oneschema.client import RetryPolicy
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.poll.sweeping import raw_sweeps, settings_for, sweep

DAY = 86_400.0
ONE_TRY = RetryPolicy(attempts=1)


def sweep_now(settings: Settings, simulator: RunningSimulator) -> None:
    clock = simulator.simulation.clock
    sweep(settings, clock=lambda: EPOCH + timedelta(seconds=clock.now()), retry=ONE_TRY)


def test_embeds_that_fail_are_counted_with_the_day_of_the_first_loss(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=12, days=2, retention_days=10)) as simulator:
        settings = settings_for(simulator, home, oneschema_retention_days=10)
        first = simulator.simulation.clock.now()
        sweep_now(settings, simulator)
        assert raw_sweeps(home)["unasked_embed_count"].to_list() == [0]

        ids = simulator.simulation.world.ids
        simulator.throw(broken_embeds={ids[0]: "500", ids[1]: "422"})
        for _ in range(6):
            simulator.advance(DAY)
            sweep_now(settings, simulator)
        last = raw_sweeps(home).row(-1, named=True)
        assert last["unasked_embed_count"] == 2
        assert last["first_loss_at"] == EPOCH + timedelta(seconds=first + 10 * DAY)

        # Without the setting nothing is claimed.
        simulator.advance(DAY)
        sweep_now(settings_for(simulator, home), simulator)
        assert raw_sweeps(home).row(-1, named=True)["unasked_embed_count"] is None
