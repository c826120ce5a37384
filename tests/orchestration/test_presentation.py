"""What Dagster shows of a home: tables whose text stays text, charts, and nothing that fails a run."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from markdown_it import MarkdownIt

from pipelines.home.layout import Home
from pipelines.messages.outside_text import LINK_BREAK, one_line
from pipelines.orchestration import charts, presentation
from pipelines.orchestration.presentation import PREVIEW_CHARACTERS, PREVIEW_ROWS, events_chart, published_tables
from pipelines.settings import Settings
from pipelines.warehouse import chart_queries, sources
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.chart_query import ChartQuery
from pipelines.warehouse.models import load_models
from pipelines.warehouse.published import connect_published
from tests.orchestration.hostile_text import FRAGMENTS
from tests.warehouse.lake import Lake, at, event

IMAGE = "data:image/png;base64,"

# What is not Unicode cannot be in a Parquet file. Newest first, so that previews show the long one.
TEXTS = ["|`<b>" * 20_000, *(text for text in FRAGMENTS if text != "\ud800")]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    lake = Lake(Home(tmp_path / "home"))
    monkeypatch.setattr(sources, "read_catalogues", lake.catalogues)
    return lake


def hostile_lake(lake: Lake) -> Home:
    """A session per hostile text, which stands wherever text from outside can stand."""
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(TEXTS):
        about: dict[str, Any] = {"template_key": text, "environment_name": text, "claims": {"user_id": text}}
        minute = number * 10
        rows += [
            event(f"{number}-a", number, "embed_initialized", at(minute), **about),
            event(f"{number}-b", number, "columns_mapped", at(minute + 1), counts={text: {text: 2}}, **about),
            event(f"{number}-c", number, "sheet_operation_performed", at(minute + 2), operation=text, **about),
            event(f"{number}-d", number, text or "empty", at(minute + 3), trigger_type=text, **about),
        ]
    lake.write(rows)
    lake.sweep(at(len(TEXTS) * 10 + 600))
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_idle_after_hours=48), "test"))
    return lake.home


@pytest.mark.slow
def test_previews_are_tables_of_text(lake: Lake) -> None:
    home = hostile_lake(lake)
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

    tables = published_tables(home)

    assert tables.keys() == {model.name for model in load_models()}
    with connect_published(home) as connection:
        counts = {name: len(connection.execute(f"from {name}").fetchall()) for name in tables}
    views = {model.name for model in load_models() if model.kind.is_view}
    assert {name: table.row_count for name, table in tables.items() if table.row_count is not None} == {
        name: counts[name] for name in views
    }
    for name, table in tables.items():
        tokens = parser.parse(table.preview)
        kinds = [token.type for token in tokens]
        # A timeline is shown of one session, which has four events.
        shown = 4 if name == "rpt_embed_timeline" else min(counts[name], PREVIEW_ROWS)
        assert kinds.count("tr_open") == 1 + shown, name
        assert kinds.count("th_open") * kinds.count("tr_open") == kinds.count("th_open") + kinds.count("td_open"), name
        inline = [token for token in tokens if token.type == "inline"]
        assert {child.type for token in inline for child in token.children or []} == {"text"}, name
        assert all(len(token.content) < 1_000 for token in inline), name
    for row in preview_rows(tables["fct_embeds"].preview):
        assert row["template_key"] == one_line(TEXTS[int(row["embed_id"])], PREVIEW_CHARACTERS)


def preview_rows(preview: str) -> list[dict[str, str]]:
    """The rows of a preview as they are rendered."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table"]).parse(preview)
    cells = [
        "".join(child.content for child in token.children or []).replace(LINK_BREAK, "")
        for token in tokens
        if token.type == "inline"
    ]
    names = cells[: [token.type for token in tokens].count("th_open")]
    return [
        dict(zip(names, cells[start : start + len(names)], strict=True))
        for start in range(len(names), len(cells), len(names))
    ]


@pytest.mark.slow
def test_previews_begin_with_the_latest_rows(lake: Lake) -> None:
    steps = ("embed_initialized", "file_uploaded", "columns_mapped")
    events = [
        event(f"{session}-{step}", session, name, at(1440 * session + step), counts={"sku": {"MISSING": 1}})
        for session in range(12)
        for step, name in enumerate(steps)
    ]
    # Not plausible: it would stay the latest for a thousand years.
    far = at(1440 * 400_000)
    events.append(event("far", 99, "odd", far) | {"lake_partition": "unknown"})
    lake.write(events)
    lake.sweep(at(1440 * 12))
    build(lake.home, BuildOptions(Settings.defaults(), "test"))

    shown = {name: preview_rows(table.preview) for name, table in published_tables(lake.home).items()}

    last_events = [row["event_uuid"] for row in shown["stg_embed_events"]]
    assert last_events == [f"{session}-{step}" for session in (11, 10, 9) for step in (2, 1, 0)][:PREVIEW_ROWS]
    assert [row["embed_id"] for row in shown["fct_embeds"]][:3] == ["11", "10", "9"]
    assert [(row["embed_id"], row["event_number"]) for row in shown["rpt_embed_timeline"]] == [
        ("11", "3"), ("11", "2"), ("11", "1"),
    ]  # fmt: skip
    last_day = str(at(1440 * 11).date())
    assert {row["event_date"] for row in shown["fct_validation_errors_daily"][:1]} == {last_day}
    # The steps of a day stand in their order.
    funnel = shown["fct_embed_funnel_daily"][:3]
    assert [(row["entry_date"], row["step_number"]) for row in funnel] == [(last_day, str(n)) for n in (1, 2, 3)]
    # Its own order says whom to help first.
    priorities = [int(row["priority"]) for row in shown["rpt_stuck_embeds"]]
    assert priorities == sorted(priorities)


@pytest.mark.slow
def test_each_chart_is_drawn_of_hostile_rows(lake: Lake) -> None:
    home = hostile_lake(lake)
    tables = published_tables(home)
    assert {name for name, table in tables.items() if table.chart} == set(load_charts())
    assert all(IMAGE in (tables[name].chart or "") for name in load_charts())
    assert IMAGE in (events_chart(home, str(at(0).date())) or "")


def test_files_of_a_former_version_are_counted_beside_those_of_today(tmp_path: Path) -> None:
    for name, row in (
        ("1", {"sweep_id": "a"}),
        ("2", {"sweep_id": "b", "environment_name": "E"}),
        ("3", {"sweep_id": "c"}),
    ):
        pl.DataFrame([row]).write_parquet(tmp_path / f"{name}.parquet")
    assert presentation.file_row_count(tmp_path) == 3
    # Whichever comes first.
    (tmp_path / "1.parquet").unlink()
    assert presentation.file_row_count(tmp_path) == 2


def test_an_empty_home_has_tables_and_no_chart(lake: Lake) -> None:
    build(lake.home, BuildOptions(code_version="test"))
    assert {table.chart for table in published_tables(lake.home).values()} == {None}
    assert events_chart(lake.home, "2026-03-02") is None


@pytest.mark.slow
def test_the_chart_of_events_ends_at_the_day_that_is_named(lake: Lake) -> None:
    home = hostile_lake(lake)
    assert events_chart(home, str(at(0).date() - timedelta(days=1))) is None
    assert events_chart(home, str(at(0).date() + timedelta(days=29))) is not None
    assert events_chart(home, str(at(0).date() + timedelta(days=40))) is None


@pytest.mark.slow
@pytest.mark.parametrize("error", [AttributeError, MemoryError, OSError, RuntimeError, pl.exceptions.ComputeError])
def test_a_chart_that_cannot_be_drawn_costs_a_line_in_the_log(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    home = hostile_lake(lake)

    def fail(*_: object) -> None:
        raise error("a row of the table")

    monkeypatch.setattr(charts, "draw", fail)
    with caplog.at_level(logging.WARNING):
        tables = published_tables(home)
        assert events_chart(home, str(at(0).date())) is None

    assert {table.chart for table in tables.values()} == {None}
    assert all(table.preview for table in tables.values())
    told = [record.getMessage() for record in caplog.records if record.name == presentation.__name__]
    assert [line for line in told if "fct_embed_funnel_daily" in line and error.__name__ in line]
    assert len(told) == len(load_charts()) + 1
    assert "a row of the table" not in caplog.text


@pytest.mark.slow
def test_a_query_or_a_preview_that_fails_costs_a_line_as_well(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = hostile_lake(lake)
    broken = ChartQuery("fct_embeds", "title", "by_day", "things", "select error('secret')", ())
    monkeypatch.setattr(presentation, "load_charts", lambda: {"fct_embeds": broken})
    monkeypatch.setattr(presentation, "_columns_of_claims", dict)
    with caplog.at_level(logging.WARNING):
        tables = published_tables(home)

    assert {(table.preview, table.chart) for table in tables.values()} == {("", None)}
    assert "the preview of fct_embeds" in caplog.text
    assert "the chart of fct_embeds" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.slow
def test_a_new_chart_is_one_file(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "charts"
    folder.mkdir()
    (folder / "fct_events_daily.sql").write_text(
        "-- Events by day and template\n-- kind: by_day\n-- unit: events\n"
        "select event_date, template_key as series, sum(event_count) as row_count from fct_events_daily group by all\n"
    )
    home = hostile_lake(lake)
    monkeypatch.setattr(presentation, "load_charts", lambda: chart_queries.load_charts(folder))

    drawn = {name: table.chart for name, table in published_tables(home).items() if table.chart}

    assert drawn.keys() == {"fct_events_daily"}
    assert drawn["fct_events_daily"].startswith("![Events by day and template](data:image/png;base64,")
