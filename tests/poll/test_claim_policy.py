"""A claim policy acts on everything that lands after it was set, without asking the vendor for more."""

from pathlib import Path

from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import raw_events, settings_for, sweep


def test_a_policy_set_later_holds_for_events_of_embeds_that_were_known(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=60, days=4, days_ahead=3, paging="honoured")) as simulator:
        sweep(settings_for(simulator, home))
        before = raw_events(home)
        assert before["claims"].str.contains('"email"').any()

        strict = settings_for(simulator, home, embed_analytics_claim_policy={"email": "drop", "name": "drop"})
        simulator.advance(2 * 86_400)
        known = set(before["embed_id"])
        requests = simulator.simulation.requests
        requests.reset()
        report = sweep(strict)
        after = raw_events(home).filter(~raw_events(home)["event_uuid"].is_in(before["event_uuid"].to_list()))
        assert known & set(after["embed_id"]), "no known embed had news"
        claims = after["claims"].drop_nulls()
        assert claims.str.json_path_match("$.org.name").is_not_null().any()
        for path in ("$.email", "$.name"):
            assert claims.str.json_path_match(path).is_null().all()
        assert sum(requests.events_by_embed.values()) == report.due_count < 60 + report.listing.new_embed_count
