"""One chart of a model, as its file in sql/charts/ says. `chart_files.py` reads the files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["funnel", "by_day", "by_category"]

# The columns of each kind's rows, in any order.
COLUMNS: Mapping[Kind, frozenset[str]] = {
    "funnel": frozenset(
        {"panel_number", "panel", "step", "reached_count", "in_order_count", "rate_low", "rate_high", "immature_count"}
    ),
    "by_day": frozenset({"event_date", "series", "row_count"}),
    "by_category": frozenset({"category", "series", "row_count"}),
}


@dataclass(frozen=True)
class ChartQuery:
    """A chart, the model that it is shown with, and the models that it reads."""

    model: str
    title: str
    kind: Kind
    unit: str
    sql: str
    depends_on: tuple[str, ...]
