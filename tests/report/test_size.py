"""A page can be sent: a year of 20 templates stays under 5 MB, whatever the filters are."""

from datetime import datetime, timedelta
from itertools import product
from random import Random
from typing import Any

import pytest

from pipelines.report.numbers import DAYS_SHOWN
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.report.account import page_of, settings
from tests.warehouse.lake import START, Lake, event

DAYS = 365
# As far back as the page has days.
DENSE = DAYS - DAYS_SHOWN
CELLS = [*product([f"template {n}" for n in range(20)], ["Production", "Staging"], [f"plan {n}" for n in range(4)])]
STEPS = ["embed_initialized", "file_uploaded", "columns_mapped", "sheet_operation_performed", "import_submitted"]


@pytest.mark.slow
def test_a_year_of_20_templates_is_under_5_megabytes(lake: Lake) -> None:
    """Each template in each environment and plan has sessions in every week, of late on every day, with 60 errors."""
    random = Random(5)
    events: list[dict[str, Any]] = []
    for day in range(DAYS):
        for number in range(day * len(CELLS), (day + 1) * len(CELLS)):
            if day >= DENSE or number % 4 == day % 4:
                events += _session(random, number, START + timedelta(days=day, hours=random.random() * 22))
    lake.write(events)
    end = START + timedelta(days=DAYS)
    lake.sweep(end)
    build(lake.home, BuildOptions(settings(lake), "test"))
    with connect_published(lake.home) as connection:
        answer = connection.execute("select count(*) from rpt_metrics where metric = 'submitted' and period = 'day'")
        assert answer.fetchall()[0][0] > DAYS_SHOWN * len(CELLS)
    size = page_of(lake).stat().st_size
    assert size < 5e6


def _session(random: Random, number: int, moment: datetime) -> list[dict[str, Any]]:
    template, environment, plan = CELLS[number % len(CELLS)]
    customer = f"c{number % 60}"
    claims = {"user_id": f"u{number % 997}", "plan": plan, "customer": customer, "customer_id": customer}
    fields: dict[str, Any] = {"template_key": template, "environment_name": environment, "claims": claims}
    events: list[dict[str, Any]] = []
    for place, step in enumerate(STEPS[: random.choice([1, 2, 3, 4, 5, 5, 5])]):
        errors = {f"column {random.randrange(12)}": {f"CODE_{random.randrange(5)}": 3} for _ in range(3)}
        counts = errors if step == "columns_mapped" else None
        operation = f"operation {random.randrange(9)}" if step == "sheet_operation_performed" else None
        at = moment + timedelta(minutes=10 * place)
        events.append(event(f"{number}-{place}", number, step, at, operation=operation, counts=counts, **fields))
    return events
