"""A sweep that cannot go on ends at once, with what it had landed, and never hangs."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import CredentialRefusedError
from pipelines.home.full_disk import DiskFullError
from pipelines.oneschema.client import RetryPolicy
from pipelines.poll import sweep as sweep_module
from pipelines.poll.batches import Answer, BatchLander
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import assert_raw_is_the_truth, raw_events, raw_sweeps, settings_for, sweep

# Far more than any of these sweeps needs: what is still at work then hangs.
LIMIT_SECONDS = 60


def error_of(run: Callable[[], object]) -> BaseException:
    """What `run` raised, run in a thread so that a hang is a failure and not the end of the tests."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive(), "the sweep hangs"
    (error,) = raised
    return error


def test_a_full_disk_ends_the_sweep(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator(SimulatorOptions(embeds=120, days=4)) as simulator:
        settings = settings_for(simulator, home, embed_analytics_concurrency=2)

        def full(_: BatchLander, __: list[Answer]) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(BatchLander, "land", full)
            patch.setattr(sweep_module, "BATCH_EVENTS", 1)
            assert isinstance(error_of(lambda: sweep(settings)), DiskFullError)
        assert not raw_sweeps(home)["is_complete"].any()
        sweep(settings)
        assert_raw_is_the_truth(home, simulator)


def test_a_refused_key_ends_the_sweep_while_others_wait_to_try_again(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=40, days=4)) as simulator:
        ids = simulator.simulation.world.ids
        # /whoami and the list come before the embeds; of these 10 are answered, or fail and wait.
        simulator.throw(broken_embeds={ids[0]: "500", ids[1]: "500"}, refused_after_requests=13)
        settings = settings_for(simulator, home, embed_analytics_concurrency=4)
        # Waits of half the first one at least.
        wait = 4 * LIMIT_SECONDS
        patient = RetryPolicy(budget_seconds=9 * wait, wait_initial_seconds=wait, wait_max_seconds=wait)
        error = error_of(lambda: sweep(settings, retry=patient))
        assert isinstance(error, CredentialRefusedError)
        assert "ONESCHEMA_API_KEY" in str(error)
        assert simulator.api_key not in str(error)
        assert set(ids[2:6]) <= set(raw_events(home)["embed_id"]), "what had been answered was not landed"
        assert set(simulator.simulation.requests.events_by_embed) <= set(ids[:14])
