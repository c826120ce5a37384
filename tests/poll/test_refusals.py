"""A refusal of one embed is that embed's: the key is refused only where /whoami or the list refuses it."""

from pathlib import Path

import pytest

from pipelines.errors import CredentialRefusedError, EmbedAnalyticsError, SourceError
from pipelines.oneschema.client import RetryPolicy
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import QUICK, assert_raw_is_the_truth, raw_events, raw_sweeps, settings_for, sweep

ONCE = RetryPolicy(attempts=1, budget_seconds=60, wait_initial_seconds=0.002, wait_max_seconds=0.02)


@pytest.mark.parametrize("status", ["401", "403", "404", "410", "451"])
def test_one_refused_embed_costs_the_others_nothing(home: Path, status: str) -> None:
    with running_simulator(SimulatorOptions(embeds=40)) as simulator:
        refused = simulator.simulation.world.ids[5]
        simulator.throw(broken_embeds={refused: status})
        settings = settings_for(simulator, home)
        for kind in ("refresh", "reconcile", "reconcile"):
            report = sweep(settings, kind)
            assert report.is_complete
            failed = {failure.embed_id for failure in report.failures}
            assert failed == (set() if status in ("404", "410") else {refused}) or kind == "refresh"
        assert simulator.simulation.requests.events_by_embed.total() >= 3 * 39
        truth = {event["uuid"] for event in simulator.truth() if event["embed_id"] != refused}
        assert set(raw_events(home)["event_uuid"]) == truth

        # The next reconcile has it, once the API answers again.
        simulator.throw(broken_embeds={})
        sweep(settings, "reconcile")
        assert_raw_is_the_truth(home, simulator)


@pytest.mark.parametrize("count", [12, 13, 20, 35])
def test_a_key_that_is_refused_from_some_request_on_ends_the_sweep(home: Path, count: int) -> None:
    with running_simulator(SimulatorOptions(embeds=40)) as simulator:
        settings = settings_for(simulator, home, embed_analytics_concurrency=4)
        simulator.throw(refused_after_requests=count)
        with pytest.raises(CredentialRefusedError):
            sweep(settings)
        # The workers' requests that were under way, and /whoami.
        assert simulator.simulation.requests.total <= count + 4 + 4
        assert not raw_sweeps(home)["is_complete"].any()
        simulator.throw(refused_after_requests=None)
        sweep(settings)
        assert_raw_is_the_truth(home, simulator)


@pytest.mark.parametrize("breakage", ["401", "403", "404", "410", "451"])
def test_known_embeds_are_asked_though_the_list_is_refused(home: Path, breakage: str) -> None:
    with running_simulator(SimulatorOptions(embeds=30)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings)
        known = set(simulator.simulation.listed_ids())
        simulator.throw(broken_list=breakage)
        simulator.simulation.requests.reset()
        with pytest.raises(EmbedAnalyticsError, match=breakage):
            sweep(settings, "reconcile")
        assert set(simulator.simulation.requests.events_by_embed) == known


@pytest.mark.slow
def test_embeds_that_fail_for_ever_do_not_keep_a_reconcile_from_completing(home: Path) -> None:
    """They are more than the failures in a row that mean a source is down, and they are asked first."""
    with running_simulator(SimulatorOptions(embeds=120)) as simulator:
        failing = simulator.simulation.world.ids[:70]
        simulator.throw(broken_embeds=dict.fromkeys(failing, "500"))
        settings = settings_for(simulator, home, embed_analytics_concurrency=4)
        broken_off = 0
        for _ in range(5):
            try:
                report = sweep(settings, "reconcile", retry=ONCE)
            except SourceError:
                broken_off += 1
                continue
            break
        else:
            raise AssertionError("the reconcile never completes")
        assert broken_off, "so many failures in a row look like a source that is down"
        assert {failure.embed_id for failure in report.failures} == set(failing)
        truth = {event["uuid"] for event in simulator.truth() if event["embed_id"] not in failing}
        assert set(raw_events(home)["event_uuid"]) == truth

        # They are asked twice and given up, whatever the policy: many must not hold up the rest.
        simulator.simulation.requests.reset()
        assert sweep(settings, "reconcile", retry=QUICK).is_complete
        asked = simulator.simulation.requests.events_by_embed
        assert {asked[embed_id] for embed_id in failing} == {2}
