"""What Dagster shows of the lake and of the published warehouse besides counts: column types, a few rows, charts.

Dagster keeps what it shows in its event log. So previews leave out the columns that claims reach, found by lineage.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path

import duckdb
import polars as pl

from pipelines.home.layout import Home, partition_folder
from pipelines.orchestration import charts
from pipelines.warehouse.models import Model, load_models
from pipelines.warehouse.published import connect_published

PREVIEW_ROWS = 8
PREVIEW_CHARACTERS = 60

# Charts over time end at the latest day that there is.
CHART_DAYS = 30

# Free-form JSON: too wide for a preview, and it may repeat what customers typed.
_DOCUMENTS = frozenset({"data", "extra", "payload", "failures", "coverage"})

# Per model with a chart: the query of its rows, and what draws them.
_CHARTS: Mapping[str, tuple[str, Callable[[pl.DataFrame], str | None]]] = {
    "fct_embed_funnel_daily": (
        f"""
        select step, sum(reached_count)::bigint as reached_count, sum(in_order_count)::bigint as in_order_count
        from fct_embed_funnel_daily
        where entry_date > (select max(entry_date) from fct_embed_funnel_daily) - {CHART_DAYS}
        group by step_number, step
        order by step_number
        """,
        partial(charts.funnel, title=f"Sessions of the last {CHART_DAYS} days by the step they reached"),
    ),
    "fct_validation_errors_daily": (
        f"""
        select event_date, column_key as "column", sum(latest_error_count)::bigint as row_count
        from fct_validation_errors_daily
        where event_date > (select max(event_date) from fct_validation_errors_daily) - {CHART_DAYS}
        group by all
        order by all
        """,
        partial(
            charts.by_day, series="column", title="Cells left with errors by day and column", unit="cells with errors"
        ),
    ),
    "fct_sheet_operations_daily": (
        f"""
        select
            coalesce(operation, 'not said') as operation,
            coalesce(trigger_type, 'not said') as trigger_type,
            sum(operation_count)::bigint as row_count
        from fct_sheet_operations_daily
        where event_date > (select max(event_date) from fct_sheet_operations_daily) - {CHART_DAYS}
        group by all
        order by all
        """,
        partial(
            charts.by_category,
            category="operation",
            series="trigger_type",
            title=f"Operations of the last {CHART_DAYS} days by type",
            unit="operations",
        ),
    ),
}


@dataclass(frozen=True)
class PublishedTable:
    """A published table or view: `columns` are (name, DuckDB type, comment); `preview` and `chart` are Markdown."""

    row_count: int
    columns: tuple[tuple[str, str, str], ...]
    preview: str
    chart: str | None


def published_tables(home: Home) -> dict[str, PublishedTable]:
    """Every model as it stands in the published warehouse. Raises WarehouseMissingError when there is none."""
    connection = connect_published(home)
    try:
        return {model.name: _published_table(connection, home, model) for model in load_models()}
    finally:
        connection.close()


def _published_table(connection: duckdb.DuckDBPyConnection, home: Home, model: Model) -> PublishedTable:
    columns = connection.execute(
        "select column_name, data_type, coalesce(comment, '') from duckdb_columns() "
        "where database_name = 'warehouse' and schema_name = 'main' and table_name = $1 order by column_index",
        [model.name],
    ).fetchall()
    (count,) = connection.execute(f"select count(*) from {model.name}").fetchall()[0]
    hidden = _DOCUMENTS | _columns_of_claims()[model.name]
    shown = [name for name, _, _ in columns if name not in hidden and not name.startswith("claim_")]
    rows = connection.execute(f"select {', '.join(shown)} from {model.name} limit {PREVIEW_ROWS}").fetchall()
    chart = None
    if model.name in _CHARTS:
        query, draw = _CHARTS[model.name]
        chart = charts.drawn(_chart_folder(home), model.name, _frame(connection, query), draw)
    return PublishedTable(count, tuple(columns), markdown_table(shown, rows), chart)


def _frame(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    result = connection.execute(query)
    names = [column[0] for column in result.description or []]
    return pl.DataFrame(result.fetchall(), schema=names, orient="row")


def events_chart(home: Home, last: str) -> str | None:
    """Events by day and type of the CHART_DAYS days to `last` (YYYY-MM-DD), from the lake; None without any."""
    dates = [date.fromisoformat(last) - timedelta(days=days) for days in range(CHART_DAYS)]
    files = [path for day in dates for path in partition_folder(home.lake_embed_events, str(day)).glob("*.parquet")]
    if not files:
        return None
    counts = (
        pl.scan_parquet(files, extra_columns="ignore", missing_columns="insert")
        .select("event_date", "event_type")
        .group_by("event_date", "event_type")
        .agg(pl.len().alias("row_count"))
        .sort("event_date", "event_type")
        .collect()
    )
    draw = partial(charts.by_day, series="event_type", title="Events by day and type", unit="events")
    return charts.drawn(_chart_folder(home), "lake_embed_events", counts, draw)


def row_counts(table: Path, event_dates: Iterable[str]) -> dict[str, int]:
    """Rows of each event date's folder of a table of the lake, read from the files' footers; 0 where there is none."""
    return {day: file_row_count(partition_folder(table, day)) for day in event_dates}


def file_row_count(folder: Path) -> int:
    """Rows of all Parquet files in a folder, read from their footers."""
    files = sorted(folder.glob("*.parquet"))
    return pl.scan_parquet(files).select(pl.len()).collect().item() if files else 0


def markdown_table(columns: list[str], rows: Iterable[tuple[object, ...]]) -> str:
    """The rows as a Markdown table; long values are cut."""
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[: PREVIEW_CHARACTERS - 1]}…"


@cache
def _columns_of_claims() -> dict[str, frozenset[str]]:
    """Per model the columns that claims reach, through however many models."""
    reached: dict[str, frozenset[str]] = {}
    for model in load_models():
        reached[model.name] = frozenset(
            column
            for column, origins in model.column_lineage.items()
            if any(
                (relation == "source.embed_events" and (name == "claims" or name.startswith("claim_")))
                or name in reached.get(relation, ())
                for relation, name in origins
            )
        )
    return reached


def _chart_folder(home: Home) -> Path:
    return home.dagster / "charts"
