"""The charts of the models, by model. `chart_files.py` says what their files must be like."""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.home.derived import derived
from pipelines.warehouse.chart_query import ChartQuery
from pipelines.warehouse.models import SQL

CHARTS = SQL / "charts"


@cache
def load_charts(folder: Path = CHARTS) -> dict[str, ChartQuery]:
    """Every chart by its model. Raises ModelError, which names the file, when a file is not a chart."""
    if folder == CHARTS:
        records = derived("charts", lambda: [asdict(chart) for chart in _read(CHARTS)])
        charts = [_restored(record) for record in records]
    else:
        charts = _read(folder)
    return {chart.model: chart for chart in charts}


def _read(folder: Path) -> list[ChartQuery]:
    from pipelines.warehouse.chart_files import read_charts

    return read_charts(folder)


def _restored(record: dict[str, Any]) -> ChartQuery:
    fields: dict[str, Any] = {"depends_on": tuple(record["depends_on"])}
    return ChartQuery(**record | fields)
