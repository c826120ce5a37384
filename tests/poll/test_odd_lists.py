"""Embeds of the list with fields of any type: each is kept or counted as unreadable, and the others are asked."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.poll.opening import open_state
from pipelines.poll.report import SweepRequest
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import raw_events, settings_for, sweep

ODD_ID = 2**41


@pytest.mark.parametrize(
    ("change", "landed"),
    [
        ({"template_key": 10**29}, {"template_key": str(10**29)}),
        ({"template_key": {"n": 10**29}}, {"template_key": f'{{"n":{10**29}}}'}),
        ({"status": 10**20}, {"status": str(10**20)}),
        ({"status": -1.5e300}, {"status": "-1.5e+300"}),
        ({"status": ["imported", None]}, {"status": '["imported",null]'}),
        ({"imported_row_count": "995"}, {"imported_row_count": 995}),
        ({"imported_row_count": 10**40}, {"imported_row_count": None}),
        ({"imported_row_count": "many"}, {"imported_row_count": None}),
        ({"user_jwt": 10**29}, {"jwt_status": "malformed"}),
        ({"id": str(ODD_ID)}, {"embed_id": ODD_ID}),
        ({"id": "9" * 5000}, None),
        ({"id": 10**100}, None),
        ({"id": 1.5}, None),
        ({"id": None}, None),
    ],
)
def test_an_odd_embed_costs_the_others_nothing(
    home: Path, change: dict[str, Any], landed: dict[str, Any] | None
) -> None:
    with running_simulator(SimulatorOptions(embeds=20)) as simulator:
        odd = {"id": ODD_ID, "template_key": "employees", "status": "initialized", "user_jwt": None, **change}
        simulator.simulation.plant(ODD_ID, embed=odd)
        report = sweep(settings_for(simulator, home))
        assert report.is_complete
        assert [failure.embed_id for failure in report.failures] == ([] if landed else [None])
        truth = {event["uuid"] for event in simulator.truth()}
        assert set(raw_events(home)["event_uuid"]) == truth
    embeds = pl.concat([pl.read_parquet(path) for path in home.glob("raw/embeds/*.parquet")])
    rows = embeds.filter(pl.col("embed_id") == ODD_ID).to_dicts()
    assert len(rows) == (1 if landed else 0)
    for name, value in (landed or {}).items():
        assert rows[0][name] == value


def test_a_state_from_before_a_field_was_known_reads_it_of_every_embed(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=20)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings)
        with open_state(settings.home) as state:
            before = list(
                state.connection.execute("select embed_id, imported_row_count, due_at from embeds order by 1")
            )
            state.connection.execute("alter table embeds drop column imported_row_count")
            state.commit()
        simulator.simulation.requests.reset()
        with open_state(settings.home):
            pass
        sweep(settings, "backfill", request=SweepRequest("backfill", date(2020, 1, 1), date(2020, 1, 2)))
        with open_state(settings.home) as state:
            after = list(state.connection.execute("select embed_id, imported_row_count, due_at from embeds order by 1"))
    assert after == before
    assert any(count for _, count, _ in before)
    # Read anew, and no reason to ask for its events.
    assert not simulator.simulation.requests.events_by_embed
