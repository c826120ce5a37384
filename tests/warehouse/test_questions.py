"""docs/questions.md: each question's SQL runs, and has the columns that the page shows."""

import re
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.warehouse.history import History
from tests.warehouse.lake import Lake

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^### ([^\n]+)\n\n```sql\n(.+?)```\n\n```text\n(.+?)```", PAGE, re.DOTALL | re.MULTILINE)


def test_there_are_at_least_twenty_questions_each_with_sql_and_an_answer() -> None:
    assert len({question for question, _, _ in QUESTIONS}) == PAGE.count("\n### ") >= 20


def test_the_readmes_questions_are_among_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # The example of a session is one that the page's home has.
    asked = {re.sub(r"embed_id = \d+", "embed_id = 41560", sql) for _, sql, _ in QUESTIONS}
    assert set(re.findall(r"```sql\n(.+?)```", readme, re.DOTALL)) <= asked


@pytest.mark.slow
def test_each_runs_and_has_the_columns_of_its_answer(lake: Lake) -> None:
    history = History(lake, Random(2))
    for _ in range(12):
        history.batch()
    lake.sweep(history.now + timedelta(hours=3))
    # What the demo's claims and operations are called is known nowhere else.
    lake.claims.append(lake.claims[0] | {"path": "org.Plan Name", "column_name": None, "is_column": False})
    lake.write(
        [
            history.event("e900", 900, history.now)
            | {"event_type": "sheet_operation_performed", "operation": "set_cell_value"}
        ]
    )
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_funnel_window_days=1)))
    with connect_published(lake.home) as connection:
        for question, sql, answer in QUESTIONS:
            found = connection.execute(sql)
            assert [column[0] for column in found.description or []] == answer.splitlines()[0].split(), question
            found.fetchall()
