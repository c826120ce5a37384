"""The charts in the assets' metadata, drawn by matplotlib without a display: frames in, a Markdown image out.

matplotlib is imported when a chart is drawn, so that definitions load without it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.home.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Raised when the same rows are to be drawn otherwise.
VERSION = 1

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#6e7781")

# The largest categories have a colour each; the rest are one.
_SERIES = len(COLOURS) - 1
_OTHERS = "others"

_TEXT = "#24292f"


def drawn(folder: Path, name: str, rows: pl.DataFrame, draw: Callable[[pl.DataFrame], str | None]) -> str | None:
    """`draw(rows)`, or what it drew from equal rows the last time: an hour without events costs no drawing.

    `folder` keeps the last chart of each name.
    """
    path = folder / f"{name}.json"
    digest = hashlib.sha256(json.dumps([VERSION, rows.to_dict(as_series=False)], default=str).encode()).hexdigest()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["digest"] == digest:
            return held["chart"]
    except (FileNotFoundError, ValueError, KeyError):
        # The first one, or a damaged file: it is drawn and written anew.
        pass
    chart = draw(rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps({"digest": digest, "chart": chart}), path)
    return chart


def funnel(steps: pl.DataFrame, title: str) -> str | None:
    """Bars of `reached_count` and `in_order_count` by `step` (a row per step, in order); None when nobody entered."""
    entered = steps["reached_count"].max() if steps.height else None
    if not isinstance(entered, int) or not entered:
        return None
    figure, axes = _figure()
    positions = range(steps.height)
    reached, in_order = steps["reached_count"].to_list(), steps["in_order_count"].to_list()
    axes.barh(positions, reached, color=COLOURS[0], height=0.7, label="reached")
    axes.barh(positions, in_order, color=COLOURS[4], height=0.35, label="in order")
    for position, count in zip(positions, reached, strict=True):
        axes.annotate(
            f"{count:,} ({count / entered:.0%})",
            (count, position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(list(positions), [str(step) for step in steps["step"]])
    axes.invert_yaxis()
    axes.set_xlim(0, entered * 1.2)
    return _finish(figure, axes, title, "sessions")


def by_day(counts: pl.DataFrame, series: str, title: str, unit: str) -> str | None:
    """Stacked bars of `row_count` by `event_date` (a Date) and the column `series`; None without rows."""
    if counts.is_empty():
        return None
    figure, axes = _figure()
    names, grouped = _largest(counts, series)
    dates = grouped["event_date"].unique().sort().to_list()
    bottom = [0] * len(dates)
    for colour, name in zip(_colours(names), names, strict=True):
        values = dict(grouped.filter(pl.col(series) == name).select("event_date", "row_count").iter_rows())
        heights = [values.get(date, 0) for date in dates]
        axes.bar(dates, heights, bottom=bottom, color=colour, width=0.8, label=name)
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    marked = dates[:: 1 + len(dates) // 11]
    axes.set_xticks(marked, [f"{date:%d %b}" for date in marked])
    return _finish(figure, axes, title, unit, unit_axis="y")


def by_category(counts: pl.DataFrame, category: str, series: str, title: str, unit: str) -> str | None:
    """Stacked bars of `row_count` by the columns `category` and `series`, the largest on top; None without rows."""
    if counts.is_empty():
        return None
    figure, axes = _figure()
    order = (
        counts.group_by(category).agg(pl.col("row_count").sum()).sort("row_count", category, descending=[True, False])
    )
    categories = order[category].to_list()[: 2 * _SERIES]
    names, grouped = _largest(counts, series)
    left = [0] * len(categories)
    for colour, name in zip(_colours(names), names, strict=True):
        rows = grouped.filter(pl.col(series) == name).group_by(category).agg(pl.col("row_count").sum())
        values = dict(rows.iter_rows())
        widths = [values.get(label, 0) for label in categories]
        axes.barh(range(len(categories)), widths, left=left, color=colour, height=0.7, label=name)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(categories)), categories)
    axes.invert_yaxis()
    return _finish(figure, axes, title, unit)


def _largest(counts: pl.DataFrame, series: str) -> tuple[list[str], pl.DataFrame]:
    """Names of the largest series, and the counts with all others as one series."""
    totals = counts.group_by(series).agg(pl.col("row_count").sum()).sort("row_count", series, descending=[True, False])
    names: list[str] = totals[series].to_list()
    if len(names) > _SERIES:
        kept = names[:_SERIES]
        renamed = counts.with_columns(
            pl.when(pl.col(series).is_in(kept)).then(pl.col(series)).otherwise(pl.lit(_OTHERS)).alias(series)
        )
        keys = [column for column in counts.columns if column != "row_count"]
        return [*kept, _OTHERS], renamed.group_by(keys).agg(pl.col("row_count").sum())
    return names, counts


def _colours(names: list[str]) -> list[str]:
    return [COLOURS[-1] if name == _OTHERS else COLOURS[index] for index, name in enumerate(names)]


def _figure() -> tuple[Figure, Axes]:
    # Not pyplot, which keeps every figure and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.6), dpi=100, layout="constrained")
    return figure, figure.add_subplot()


def _finish(figure: Figure, axes: Axes, title: str, unit: str, unit_axis: str = "x") -> str:
    axes.set_title(title, loc="left", fontsize=11, color=_TEXT)
    (axes.set_xlabel if unit_axis == "x" else axes.set_ylabel)(unit, color=_TEXT)
    axes.grid(axis="x" if unit_axis == "x" else "y", color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_TEXT, labelsize=9)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return _as_markdown(figure, title)


def _as_markdown(figure: Figure, title: str) -> str:
    """The figure as an image in Markdown. 64 colours make a third of the bytes, which stay in the event log."""
    from PIL import Image

    drawn, reduced = io.BytesIO(), io.BytesIO()
    options: dict[str, Any] = {"format": "png", "facecolor": "white"}
    figure.savefig(drawn, **options)
    with Image.open(drawn) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(reduced, format="png", optimize=True)
    return f"![{title}](data:image/png;base64,{base64.b64encode(reduced.getvalue()).decode()})"
