"""A refresh as it is run: from the receiver's 200 to the warehouse."""

import json
from pathlib import Path

import orjson
import pytest

from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.terminal.test_cli import run
from tests.webhooks.receiving import journal_files, running_receiver

SAMPLE = (Path(__file__).parents[1] / "simulator" / "fixtures" / "webhook_event.json").read_bytes()


@pytest.mark.slow
def test_events_of_embeds_that_the_poll_never_listed_are_in_the_warehouse(tmp_path: Path) -> None:
    own = orjson.loads(SAMPLE) | {"environment_name": "Staging"}
    # This one says no environment of its own: it has the one that is set.
    other = {name: own[name] for name in own if name != "environment_name"} | {"uuid": "event-2", "embed_id": 53512}
    with running_simulator(SimulatorOptions(embeds=3, days=2)) as simulator:
        with running_receiver(tmp_path / "home") as receiver:
            assert receiver.push(orjson.dumps(own)).status_code == 200
            assert receiver.push(orjson.dumps(other)).status_code == 200
        done = run(
            tmp_path,
            "refresh",
            ONESCHEMA_API_KEY=simulator.api_key,
            ONESCHEMA_API_URL=simulator.url,
            ONESCHEMA_ENVIRONMENT="Production",
        )
    assert done.returncode == 0, done.stderr
    assert "new events and 2 by webhook" in done.stdout
    assert journal_files(tmp_path / "home") == []
    query = "select embed_id, environment_name, user_id, event_count from fct_embeds where embed_id > 53510 order by 1"
    rows = run(tmp_path, "query", query, "--format", "json").stdout
    assert json.loads(rows) == [
        {"embed_id": 53511, "environment_name": "Staging", "user_id": "<USER_ID>", "event_count": 1},
        {"embed_id": 53512, "environment_name": "Production", "user_id": "<USER_ID>", "event_count": 1},
    ]
