"""Charts that stand beside the models, and the files that are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.warehouse import dictionary
from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.models import SQL, load_models
from pipelines.warehouse.sql_errors import ModelError

CHART = """-- Sessions by day and outcome
-- kind: by_day
-- unit: sessions
select entry_date as event_date, outcome as series, count(*) as row_count from fct_embeds group by all
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    load_charts.cache_clear()


def test_every_file_is_a_chart_of_a_model_and_in_its_entry_of_the_dictionary() -> None:
    charts = load_charts()
    assert charts.keys() == {path.stem for path in (SQL / "charts").glob("*.sql")}
    assert charts.keys() <= {model.name for model in load_models()}
    entries = {entry.split("\n")[0]: entry for entry in dictionary.render().split("\n## ")}
    for name, chart in charts.items():
        assert f"- Chart in Dagster: {chart.title}\n" in entries[name]


def test_a_chart_says_what_it_is_and_what_it_reads(folder: Path) -> None:
    (folder / "fct_embeds.sql").write_text(CHART)
    (chart,) = load_charts(folder).values()
    assert (chart.model, chart.title, chart.kind, chart.unit, chart.depends_on) == (
        "fct_embeds", "Sessions by day and outcome", "by_day", "sessions", ("fct_embeds",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("-- Sessions by day and outcome\n", "", "no comment at its top"),
        ("kind: by_day", "kind: pie", "`-- kind:` with one of funnel, by_day, by_category"),
        ("-- unit: sessions\n", "", "`-- unit:`"),
        (
            "kind: by_day",
            "kind: funnel",
            "needs the columns immature_count, in_order_count, panel, panel_number, rate_high, rate_low, "
            "reached_count, step",
        ),
        ("as series", "as name", "needs the columns event_date, row_count, series"),
        ("outcome", "nonesuch", "'nonesuch'"),
        ("from fct_embeds", "from fct_nothing", "reads fct_nothing, which is not a model"),
        ("select entry_date", "selec entry_date", "Line 4"),
        ("select entry_date", "drop table x; select entry_date", "fct_embeds.sql"),
    ],
)
def test_a_file_that_is_not_a_chart_is_named_with_its_fault(folder: Path, old: str, new: str, told: str) -> None:
    (folder / "fct_embeds.sql").write_text(CHART.replace(old, new))
    with pytest.raises(ModelError) as refused:
        load_charts(folder)
    assert "charts/fct_embeds.sql" in str(refused.value)
    assert told in str(refused.value)


def test_a_chart_of_no_model_is_refused(folder: Path) -> None:
    (folder / "fct_nothing.sql").write_text(CHART)
    with pytest.raises(ModelError, match=r"charts/fct_nothing\.sql is not named after a model"):
        load_charts(folder)
