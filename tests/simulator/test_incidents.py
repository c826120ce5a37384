"""An eventful account is the steady one but for the sessions that its incidents concern, and these go worse."""

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from pipelines.simulator.incidents import Incident
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from pipelines.simulator.simulation import Simulation
from pipelines.simulator.truth import Truth

pytestmark = pytest.mark.slow

OPTIONS = SimulatorOptions(embeds=4000, days=70)
EVENTFUL = OPTIONS.model_copy(update={"history": "eventful"})


def counts_of(event: dict[str, Any]) -> dict[str, dict[str, int]]:
    data: dict[str, Any] = event["data"] or {}
    return data.get("validation_error_counts", {})


class Account(NamedTuple):
    """By embed id: the embed as the truth has it, and its events."""

    embeds: dict[int, dict[str, Any]]
    events: dict[int, list[dict[str, Any]]]

    def submitted_share(self, ids: Collection[int]) -> float:
        submitted = [any(e["event_type"] == "import_submitted" for e in self.events[embed_id]) for embed_id in ids]
        return sum(submitted) / len(submitted)

    def share_with(self, column_key: str, error_code: str, ids: Collection[int]) -> float:
        """Of these, the share of those that reported errors which reported this one."""
        reports = [[counts_of(event) for event in self.events[embed_id]] for embed_id in ids]
        found = [any(error_code in counts.get(column_key, {}) for counts in each) for each in reports if any(each)]
        return sum(found) / len(found)


def account(options: SimulatorOptions) -> Account:
    truth = Truth(Simulation(options))
    events: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in truth.events():
        events[event["embed_id"]].append(event)
    return Account({embed["embed_id"]: embed for embed in truth.embeds()}, events)


@pytest.fixture(scope="module")
def steady() -> Account:
    return account(OPTIONS)


@pytest.fixture(scope="module")
def eventful() -> Account:
    return account(EVENTFUL)


@pytest.fixture(scope="module")
def incidents() -> tuple[Incident, ...]:
    return Simulation(EVENTFUL).world.incidents


def is_of(embed: dict[str, Any], incident: Incident) -> bool:
    """Whether its template or its customer is the incident's, whenever it began; the customer as its claims say."""
    if incident.organisation is None:
        return embed["template_key"] == incident.template_key
    return embed["claims"] is not None and embed["claims"]["org"]["id"] == 1000 + incident.organisation


def test_other_sessions_are_the_same(steady: Account, eventful: Account, incidents: tuple[Incident, ...]) -> None:
    assert steady.embeds.keys() == eventful.embeds.keys()
    differing = {embed_id for embed_id in steady.events if steady.events[embed_id] != eventful.events[embed_id]}
    assert len(differing) > 300
    for embed_id in differing:
        embed = steady.embeds[embed_id]
        # Of a token that cannot be read, nobody knows the customer.
        is_anybodys = embed["claims"] is None
        assert any(
            embed["started_at"] >= incident.at and (is_of(embed, incident) or is_anybodys) for incident in incidents
        )


def test_a_release_breaks_one_column(eventful: Account, incidents: tuple[Incident, ...]) -> None:
    (release,) = [incident for incident in incidents if incident.template_key is not None]
    assert release.flaw is not None
    ids = [embed_id for embed_id, embed in eventful.embeds.items() if is_of(embed, release)]
    after = [embed_id for embed_id in ids if eventful.embeds[embed_id]["started_at"] >= release.at]
    before = set(ids) - set(after)
    broken = (release.flaw.column_key, release.flaw.error_code)
    assert eventful.share_with(*broken, before) < 0.6 < 0.9 < eventful.share_with(*broken, after)
    other = ("start_date", "INVALID_DATE")
    assert abs(eventful.share_with(*other, before) - eventful.share_with(*other, after)) < 0.1
    assert eventful.submitted_share(after) < eventful.submitted_share(before) - 0.05


def test_a_customer_falls(eventful: Account, incidents: tuple[Incident, ...]) -> None:
    (fall,) = [incident for incident in incidents if incident.organisation is not None]
    ids = [embed_id for embed_id, embed in eventful.embeds.items() if is_of(embed, fall)]
    after = [embed_id for embed_id in ids if eventful.embeds[embed_id]["started_at"] >= fall.at]
    before = set(ids) - set(after)
    assert min(len(before), len(after)) > 40
    assert eventful.submitted_share(after) < eventful.submitted_share(before) - 0.2


def test_a_steady_account_has_no_incidents_and_the_admin_tells_them(incidents: tuple[Incident, ...]) -> None:
    with running_simulator(OPTIONS.model_copy(update={"embeds": 1})) as simulator:
        assert simulator.admin.get("incidents").json() == []
    with running_simulator(EVENTFUL.model_copy(update={"embeds": 1})) as simulator:
        assert simulator.admin.get("incidents").json() == [
            {
                "date": f"{datetime.fromtimestamp(incident.at, UTC):%Y-%m-%d}",
                "text": incident.text,
                "template": incident.template_key,
            }
            for incident in incidents
        ]
    assert all(incident.at % 86400 == 0 for incident in incidents)
