"""The charts in the assets' metadata, drawn by matplotlib without a display: rows in, a Markdown image out.

matplotlib is imported when a chart is drawn, so that definitions load without it. Labels are text from outside.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from pipelines.home.files import write_text
from pipelines.messages.outside_text import one_line
from pipelines.orchestration.outside_text import markdown_text
from pipelines.warehouse.chart_query import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Raise this when the same rows should be drawn differently.
VERSION = 4

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#6e7781")

# The largest series each have a colour. The rest share one.
_SERIES = len(COLOURS) - 1
_CATEGORIES = 2 * _SERIES

# How many small funnels stand side by side.
_PANELS_ABREAST = 3

_LABEL_CHARACTERS = 32
_TITLE_CHARACTERS = 80

_TEXT = "#24292f"


@dataclass(frozen=True)
class Chart:
    """How rows are drawn. `warehouse.chart_queries.COLUMNS` says which columns the rows of a kind have."""

    kind: Kind
    title: str
    unit: str


def drawn(folder: Path, name: str, rows: pl.DataFrame, chart: Chart) -> str | None:
    """The chart of these rows as a Markdown image. None if there is nothing to draw.

    `folder` keeps the last chart of each name, so equal rows are drawn only once.
    """
    path = folder / f"{name}.json"
    told = [VERSION, chart.kind, chart.title, chart.unit, rows.to_dict(as_series=False)]
    digest = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["digest"] == digest:
            return held["chart"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # There is no earlier chart, or its file is damaged: draw it again.
        pass
    image = draw(rows, chart)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps({"digest": digest, "chart": image}), path)
    return image


def draw(rows: pl.DataFrame, chart: Chart) -> str | None:
    """Like `drawn`, without looking for an earlier chart."""
    shown = ("reached_count", "immature_count") if chart.kind == "funnel" else ("row_count",)
    if rows.is_empty() or not any(rows[name].sum() for name in shown):
        return None
    # Not pyplot, which keeps every figure and looks for a display.
    import matplotlib
    from matplotlib.figure import Figure

    # A dollar sign in a label is not mathematics. A character that the font lacks is drawn as a box.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(dpi=100, layout="constrained")
        if chart.kind == "funnel":
            _funnels(figure, rows, chart)
        else:
            figure.set_size_inches(8.4, 3.6)
            axes = figure.add_subplot()
            _BARS[chart.kind](axes, rows)
            _finish(axes, chart)
        return f"![{markdown_text(chart.title, _TITLE_CHARACTERS)}](data:image/png;base64,{_png(figure)})"


def _funnels(figure: Figure, rows: pl.DataFrame, chart: Chart) -> None:
    """A funnel for each `panel_number`, called `panel`, with its steps side by side with those of the others."""
    panels = rows.partition_by("panel_number", maintain_order=True)
    columns = min(len(panels), _PANELS_ABREAST)
    lines = -(-len(panels) // columns)
    figure.set_size_inches(8.4, max(3.6, 1.0 + 2.2 * lines))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, panel in zip_longest(grid.flat, panels):
        if panel is None:
            axes.remove()
            continue
        _funnel(axes, panel)
        _style(axes, "x")
        axes.set_title(_label(panel["panel"][0]), loc="left", fontsize=9, color=_TEXT)
    grid[0, 0].invert_yaxis()
    figure.suptitle(one_line(chart.title, _TITLE_CHARACTERS), x=0.01, ha="left", fontsize=11, color=_TEXT)
    young = panels[0]["immature_count"].max()
    unit = f"{chart.unit} ({young:,} too young to count are left out)" if young else chart.unit
    figure.supxlabel(unit, fontsize=10, color=_TEXT)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)


def _funnel(axes: Axes, rows: pl.DataFrame) -> None:
    """Bars of `reached_count` and `in_order_count` by `step`, in the order of the rows.

    The label of a bar has its share of the longest one; the line on it is its interval, `rate_low` to `rate_high`.
    """
    positions = range(rows.height)
    reached, in_order = rows["reached_count"].to_list(), rows["in_order_count"].to_list()
    entered = max(reached)
    axes.barh(positions, reached, color=COLOURS[0], height=0.7, label="reached")
    axes.barh(positions, in_order, color=COLOURS[4], height=0.35, label="in order")
    ends = [0.0]
    for position, count, low, high in zip(positions, reached, rows["rate_low"], rows["rate_high"], strict=True):
        known = entered and low is not None
        if known:
            label = "95 % interval" if len(ends) == 1 else None
            axes.plot([low * entered, high * entered], [position, position], color=_TEXT, linewidth=1.2, label=label)
        ends.append(max(count, high * entered if known else 0))
        axes.annotate(
            f"{count:,} ({count / entered:.0%})" if entered else f"{count:,}",
            (ends[-1], position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(list(positions), [_label(step) for step in rows["step"]])
    axes.set_xticks([])
    axes.set_xlim(0, max(*ends, 1) * 1.7)


def _by_day(axes: Axes, rows: pl.DataFrame) -> None:
    """Stacked bars of `row_count` by `event_date` (a Date) and `series`."""
    names, ranked = _ranked(rows)
    dates = ranked["event_date"].unique().sort().to_list()
    bottom = [0] * len(dates)
    for rank, name in enumerate(names):
        counts = _counts(ranked, rank, "event_date")
        heights = [counts.get(date, 0) for date in dates]
        axes.bar(dates, heights, bottom=bottom, color=COLOURS[rank], width=0.8, label=name)
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    marked = dates[:: 1 + len(dates) // 11]
    axes.set_xticks(marked, [f"{date:%d %b}" for date in marked])


def _by_category(axes: Axes, rows: pl.DataFrame) -> None:
    """Stacked bars of `row_count` by `category` and `series`, the largest category on top."""
    names, ranked = _ranked(rows)
    categories = _largest(rows, "category")[:_CATEGORIES]
    left = [0] * len(categories)
    for rank, name in enumerate(names):
        counts = _counts(ranked, rank, "category")
        widths = [counts.get(category, 0) for category in categories]
        axes.barh(range(len(categories)), widths, left=left, color=COLOURS[rank], height=0.7, label=name)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(categories)), [_label(category) for category in categories])
    axes.invert_yaxis()


_BARS: dict[Kind, Callable[[Axes, pl.DataFrame], None]] = {
    "by_day": _by_day,
    "by_category": _by_category,
}


def _ranked(rows: pl.DataFrame) -> tuple[list[str], pl.DataFrame]:
    """Labels of the series to draw, the largest first, and the rows with a column `rank`: the index of their label."""
    # If all names are NULL, the column has no type.
    rows = rows.cast({"series": pl.String})
    series = _largest(rows, "series")
    ranks = pl.DataFrame({"series": series, "rank": range(len(series))}, schema={"series": pl.String, "rank": pl.Int64})
    ranked = rows.join(ranks, on="series", nulls_equal=True).with_columns(pl.col("rank").clip(upper_bound=_SERIES))
    labels = [_label(name) for name in series[:_SERIES]]
    return labels + ["others"] * (len(series) > _SERIES), ranked


def _largest(rows: pl.DataFrame, column: str) -> list[str | None]:
    totals = rows.group_by(column).agg(pl.col("row_count").sum())
    return totals.sort("row_count", column, descending=[True, False])[column].to_list()


def _counts(ranked: pl.DataFrame, rank: int, by: str) -> dict[object, int]:
    chosen = ranked.filter(pl.col("rank") == rank).group_by(by).agg(pl.col("row_count").sum())
    return dict(chosen.iter_rows())


def _label(text: str | None) -> str:
    """A legend leaves out what is empty, or begins with an underscore unless a space comes before it."""
    shown = "not said" if text is None else one_line(text, _LABEL_CHARACTERS) or "(empty)"
    return f" {shown}" if shown.startswith("_") else shown


def _finish(axes: Axes, chart: Chart) -> None:
    axis = "y" if chart.kind == "by_day" else "x"
    axes.set_title(one_line(chart.title, _TITLE_CHARACTERS), loc="left", fontsize=11, color=_TEXT)
    (axes.set_xlabel if axis == "x" else axes.set_ylabel)(chart.unit, color=_TEXT)
    _style(axes, axis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def _style(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_TEXT, labelsize=9)


def _png(figure: Figure) -> str:
    """The figure in base64. With 64 colours it has a third of the bytes, and they stay in the event log."""
    from PIL import Image

    full, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", facecolor="white")
    with Image.open(full) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(reduced, format="png", optimize=True)
    return base64.b64encode(reduced.getvalue()).decode()
