"""What Dagster shows of the lake and the published warehouse besides counts: column types, a few rows, charts.

Dagster keeps what it shows in its event log. So previews leave out the columns that claims reach, found by lineage.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from pipelines.home.layout import Home, lake_folder
from pipelines.home.sealed import find_damage
from pipelines.orchestration.charts import Chart, drawn
from pipelines.orchestration.outside_text import markdown_text
from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.lineage import column_lineage
from pipelines.warehouse.literals import identifier
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import load_models
from pipelines.warehouse.published import connect_published

_LOG = logging.getLogger(__name__)

Shown = TypeVar("Shown")

PREVIEW_ROWS = 8
PREVIEW_CHARACTERS = 60

# How many days the lake's chart shows.
CHART_DAYS = 30

EVENTS_CHART = Chart("by_day", "Events by day and type", "events")

# Free-form JSON is too wide for a preview, and may repeat what customers typed.
_DOCUMENTS = frozenset({"data", "extra", "payload", "failures", "coverage"})


@dataclass(frozen=True)
class PublishedTable:
    """A published table or view. `columns` are (name, DuckDB type, comment); `preview` and `chart` are Markdown.

    `row_count` is None for a table: whoever built it has counted its rows.
    """

    row_count: int | None
    columns: tuple[tuple[str, str, str], ...]
    preview: str
    chart: str | None


def published_tables(home: Home) -> dict[str, PublishedTable]:
    """Every model as it is in the published warehouse. Raises WarehouseMissingError when there is none."""
    connection = connect_published(home)
    try:
        columns = _columns(connection)
        # A constant in the queries, so that DuckDB passes over what is older than the latest rows.
        ((until,),) = connection.execute(
            "select coalesce(data_through, built_at) + interval 1 day from meta_build"
        ).fetchall()
        return {
            model.name: _published_table(connection, home, model, columns[model.name], until) for model in load_models()
        }
    finally:
        connection.close()


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str, str]]]:
    """The columns of each table and view, in their order."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for table, *column in connection.execute(
        "select table_name, column_name, data_type, coalesce(comment, '') from duckdb_columns() "
        "where database_name = 'warehouse' and schema_name = 'main' order by table_name, column_index"
    ).fetchall():
        name, dtype, comment = column
        found.setdefault(table, []).append((name, dtype, comment))
    return found


def _published_table(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    model: Model,
    columns: list[tuple[str, str, str]],
    plausible_until: datetime,
) -> PublishedTable:
    count = None
    if model.kind.is_view:
        ((count,),) = connection.execute(f"select count(*) from {identifier(model.name)}").fetchall()
    preview = _shown(f"the preview of {model.name}", lambda: _preview(connection, model, columns, plausible_until))
    chart = _shown(f"the chart of {model.name}", lambda: _chart(connection, home, model))
    return PublishedTable(count, tuple(columns), preview or "", chart)


def _preview(
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    columns: list[tuple[str, str, str]],
    plausible_until: datetime,
) -> str:
    """The latest rows by the first date or time that the table has, as far as that is plausible. A model that is made
    whole each time has an order of its own."""
    hidden = _DOCUMENTS | _columns_of_claims()[model.name]
    shown = [name for name, *_ in columns if name not in hidden and not name.startswith("claim_")]
    where, order = ["true"], ""
    if model.kind.is_view and model.has_column("embed_id"):
        # DuckDB would make the rows of every session, and then leave out all but a few.
        where.append(f"embed_id = {_latest_session(connection)}")
    time = next((identifier(name) for name, dtype, _ in columns if dtype in ("DATE", "TIMESTAMP")), None)
    if time is not None and model.refresh != "whole":
        where.append(f"({time} <= '{plausible_until}'::timestamp) is not false")
        order = f"order by {', '.join([f'{time} desc nulls last', *map(identifier, model.grain)])}"
    rows = connection.execute(
        f"select {', '.join(map(identifier, shown))} from {identifier(model.name)} where {' and '.join(where)} "
        f"{order} limit {PREVIEW_ROWS}"
    ).fetchall()
    return markdown_table(shown, rows)


def _latest_session(connection: duckdb.DuckDBPyConnection) -> int | str:
    row = connection.execute("select embed_id from fct_embeds order by last_event_at desc limit 1").fetchone()
    return "null" if row is None else row[0]


def _chart(connection: duckdb.DuckDBPyConnection, home: Home, model: Model) -> str | None:
    query = load_charts().get(model.name)
    if query is None:
        return None
    result = connection.execute(query.sql)
    names = [column[0] for column in result.description or []]
    rows = pl.DataFrame(result.fetchall(), schema=names, orient="row", infer_schema_length=None)
    return drawn(_chart_folder(home), model.name, rows, Chart(query.kind, query.title, query.unit))


def _shown(what: str, make: Callable[[], Shown]) -> Shown | None:
    """The result of `make`. If it fails, None and a line in the log."""
    try:
        return make()
    # The warehouse is already published, and a run must not fail for a missing picture. Together, DuckDB, Polars,
    # matplotlib and Pillow raise nearly every built-in error and document none, so a narrower type would only look
    # precise. The error's text may repeat rows, and its type is enough to find the cause.
    except Exception as error:  # noqa: BLE001
        _LOG.warning("Dagster does not show %s: drawing it ended in %s.", what, type(error).__name__)
        return None


def events_chart(home: Home, last: str) -> str | None:
    """The chart of events by day and type, over the CHART_DAYS days to `last` (YYYY-MM-DD). None without events."""
    return _shown("the chart of events", lambda: _events_chart(home, date.fromisoformat(last)))


def _events_chart(home: Home, last: date) -> str | None:
    dates = [last - timedelta(days=days) for days in range(CHART_DAYS)]
    files = [path for day in dates for path in lake_folder(home.lake_embed_events, str(day)).glob("*.parquet")]
    if not files:
        return None
    counts = (
        pl.scan_parquet(files, glob=False, extra_columns="ignore", missing_columns="insert", hive_partitioning=False)
        .group_by(pl.col("occurred_at").dt.date().alias("event_date"), pl.col("event_type").alias("series"))
        .agg(pl.len().cast(pl.Int64).alias("row_count"))
        .sort("event_date", "series")
        .collect()
    )
    return drawn(_chart_folder(home), "lake_embed_events", counts, EVENTS_CHART)


def row_counts(table: Path, event_dates: Iterable[str]) -> dict[str, int]:
    """The row count of each event date of a lake table, read from the files' footers. 0 for a date without a folder."""
    return {day: file_row_count(lake_folder(table, day)) for day in event_dates}


def file_row_count(folder: Path) -> int:
    """Rows of all Parquet files in a folder, read from their footers; damaged files are left out."""
    files = sorted(folder.glob("*.parquet"))
    try:
        return _row_count(files)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return _row_count([path for path in files if find_damage(path) is None])


def _row_count(files: list[Path]) -> int:
    if not files:
        return 0
    # Files of a former version of raw lack columns.
    rows = pl.scan_parquet(files, glob=False, missing_columns="insert", extra_columns="ignore")
    return rows.select(pl.len()).collect().item()


def markdown_table(columns: list[str], rows: Iterable[tuple[object, ...]]) -> str:
    """The rows as a Markdown table. Long values are cut, and any value is shown as plain text."""
    lines = [
        [markdown_text(column, PREVIEW_CHARACTERS) for column in columns],
        ["---"] * len(columns),
        *([_cell(value) for value in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return markdown_text(f"{value:.6g}" if isinstance(value, float) else str(value), PREVIEW_CHARACTERS)


@cache
def _columns_of_claims() -> dict[str, frozenset[str]]:
    """The columns of each model that claims reach, through any number of models."""
    reached: dict[str, frozenset[str]] = {}
    for model in load_models():
        reached[model.name] = frozenset(
            column
            for column, origins in column_lineage(model).items()
            if any(
                (relation == "source.embed_events" and (name == "claims" or name.startswith("claim_")))
                or name in reached.get(relation, ())
                for relation, name in origins
            )
        )
    return reached


def _chart_folder(home: Home) -> Path:
    return home.dagster / "charts"
