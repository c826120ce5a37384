"""Reads the charts of the models. Each file in sql/charts/ is a SELECT named after the model that it is shown with.

Its leading comment is the chart's title and ends in directives. `kind:` says how the chart is drawn, and with that
which columns it has. `unit:` says what its numbers count. The SELECT runs on the published warehouse.
"""

from pathlib import Path
from typing import cast, get_args

from sqlglot import exp
from sqlglot.optimizer.qualify import qualify

from pipelines.warehouse.chart_query import COLUMNS, ChartQuery, Kind
from pipelines.warehouse.lineage import known_columns
from pipelines.warehouse.models import load_models
from pipelines.warehouse.sql_errors import ModelError, blamed_on
from pipelines.warehouse.statements import parse_select, read_header


def read_charts(folder: Path) -> list[ChartQuery]:
    """Every chart in `folder`. Raises ModelError, which names the file, when a file is not a chart."""
    return [_read_chart(path) for path in sorted(folder.glob("*.sql"))]


def _read_chart(path: Path) -> ChartQuery:
    name = f"sql/charts/{path.name}"
    models = {model.name for model in load_models()}
    if path.stem not in models:
        raise ModelError(f"{name} is not named after a model: give it the name of the model that it is shown with.")
    with blamed_on(name):
        text = path.read_text(encoding="utf-8")
    header = read_header(text, name)
    kind, unit = header.directives.get("kind"), header.directives.get("unit")
    if kind not in get_args(Kind) or unit is None:
        raise ModelError(f"{name} needs the lines `-- kind:` with one of {', '.join(get_args(Kind))}, and `-- unit:`.")
    kind = cast(Kind, kind)
    tree = parse_select(text, name)
    with blamed_on(name):
        local = {cte.alias for cte in tree.find_all(exp.CTE)}
        depends_on = {table.name for table in tree.find_all(exp.Table)} - local
        if unknown := depends_on - models:
            raise ModelError(f"{name} reads {', '.join(sorted(unknown))}, which is not a model.")
        # Raises for a column that none of the SELECT's tables has.
        qualify(tree.copy(), dialect="duckdb", schema=known_columns())
    if COLUMNS[kind].symmetric_difference(tree.named_selects):
        raise ModelError(f"{name} is a chart of kind {kind}: it needs the columns {', '.join(sorted(COLUMNS[kind]))}.")
    return ChartQuery(path.stem, header.description, kind, unit, text, tuple(sorted(depends_on)))
