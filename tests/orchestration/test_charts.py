"""Charts: what is drawn is what the rows say, whatever they are called."""

import base64
import io
import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from pipelines.messages.outside_text import one_line
from pipelines.orchestration import charts
from pipelines.orchestration.charts import Chart, draw, drawn
from pipelines.warehouse.chart_query import COLUMNS, Kind
from tests.orchestration.hostile_text import hostile_text, stored_text
from tests.proving import examples

DAY = date(2026, 3, 2)
KINDS = sorted(COLUMNS)

names = st.lists(st.one_of(st.none(), stored_text), min_size=1, max_size=12, unique=True)
counts = st.lists(st.integers(1, 10**12), min_size=12, max_size=12)


def rows_of(kind: Kind, called: list[str | None], numbers: list[int]) -> pl.DataFrame:
    """Rows of the kind in which everything that has a name has one of these."""
    numbers = numbers[: len(called)]
    by_name = {
        "funnel": {
            "step": called,
            "reached_count": numbers,
            "in_order_count": [number // 2 for number in numbers],
            "rate_low": [0.25] * len(called),
            "rate_high": [0.75] * len(called),
            "immature_count": [numbers[0]] * len(called),
        },
        "by_day": {
            "event_date": [DAY + timedelta(days=index % 3) for index in range(len(called))],
            "series": called,
            "row_count": numbers,
        },
        "by_category": {"category": called, "series": called[::-1], "row_count": numbers},
    }
    rows = pl.DataFrame(by_name[kind])
    if kind == "funnel":
        # A panel for each of the first names, with all steps in each.
        rows = pl.DataFrame({"panel": called[:4]}).with_row_index("panel_number", 1).join(rows, how="cross")
    assert set(rows.columns) == COLUMNS[kind]
    return rows


@contextmanager
def figures() -> Generator[list[Figure]]:
    """The figures that are drawn meanwhile."""
    kept: list[Figure] = []
    png = charts._png  # pyright: ignore[reportPrivateUsage]

    def keep(figure: Figure) -> str:
        kept.append(figure)
        return png(figure)

    with patch.object(charts, "_png", keep):
        yield kept


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def image_in(markdown: str | None) -> Image.Image:
    assert markdown is not None
    title, _, encoded = markdown.partition("](data:image/png;base64,")
    assert title.startswith("![")
    return Image.open(io.BytesIO(base64.b64decode(encoded.removesuffix(")"), validate=True)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.prove
@settings(max_examples=examples(10))
@given(names, counts, hostile_text)
def test_every_kind_draws_whatever_its_rows_are_called(
    kind: Kind, called: list[str | None], numbers: list[int], title: str
) -> None:
    with figures() as drawings:
        image = image_in(draw(rows_of(kind, called, numbers), Chart(kind, title, "things")))

    assert len(image.getcolors() or []) > 3
    (figure,) = drawings
    texts = figure.findobj(Text)
    # Mathematics is off for each: what it says is what is drawn.
    assert not any(text.get_parse_math() for text in texts)
    assert all(len(text.get_text()) <= 81 and len(text.get_text().splitlines()) <= 1 for text in texts)
    assert one_line(title, 80) in {text.get_text() for text in texts}
    if kind == "funnel":
        assert len(figure.axes) == len(called[:4])


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_with_dollars_or_an_underscore_is_shown_as_it_is(kind: Kind) -> None:
    with figures() as (drawings):
        draw(rows_of(kind, ["$x^2$", "_hidden", "$\\frac{$"], [3, 2, 1]), Chart(kind, "$t$", "things"))

    shown = {text.get_text().strip() for text in drawings[0].findobj(Text)}
    assert {"$x^2$", "_hidden", "$\\frac{$", "$t$"} <= shown
    if kind != "funnel":
        legend = drawings[0].axes[0].get_legend()
        assert legend is not None
        assert {text.get_text().strip() for text in legend.get_texts()} == {"$x^2$", "_hidden", "$\\frac{$"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["by_day", "by_category"])
@pytest.mark.prove
@settings(max_examples=examples(10))
@given(names, counts)
def test_bars_add_up_to_the_rows(kind: Kind, called: list[str | None], numbers: list[int]) -> None:
    rows = rows_of(kind, called, numbers)
    with figures() as drawings:
        draw(rows, Chart(kind, "title", "things"))

    (axes,) = drawings[0].axes
    lengths = [bar.get_height() if kind == "by_day" else bar.get_width() for bar in bars(axes)]
    assert sum(lengths) == pytest.approx(rows["row_count"].sum())
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == min(len(called), len(charts.COLOURS))


def test_the_funnel_says_counts_and_shares() -> None:
    rows = pl.DataFrame(
        {
            "panel_number": [1, 1, 2, 2],
            "panel": ["all templates", "all templates", None, None],
            "step": ["a", "b", "a", "b"],
            "reached_count": [2_000, 500, 40, 10],
            "in_order_count": [1_500, 0, 20, 0],
            "rate_low": [0.998, 0.232, 0.912, 0.142],
            "rate_high": [1.0, 0.269, 1.0, 0.402],
            "immature_count": [1_234, 1_234, 3, 3],
        }
    )
    with figures() as drawings:
        draw(rows, Chart("funnel", "title", "sessions"))

    together, template = drawings[0].axes
    assert [bar.get_width() for bar in bars(together)] == [2_000, 500, 1_500, 0]
    assert [bar.get_width() for bar in bars(template)] == [40, 10, 20, 0]
    assert {"2,000 (100%)", "500 (25%)", "a", "b"} <= {text.get_text() for text in together.findobj(Text)}
    assert {"40 (100%)", "10 (25%)"} <= {text.get_text() for text in template.findobj(Text)}
    assert [axes.get_title(loc="left") for axes in drawings[0].axes] == ["all templates", "not said"]
    # The interval of each bar, on its scale.
    assert [line.get_xdata() for line in template.lines] == [
        pytest.approx([0.912 * 40, 40]),
        pytest.approx([0.142 * 40, 0.402 * 40]),
    ]
    assert "sessions (1,234 too young to count are left out)" in {text.get_text() for text in drawings[0].findobj(Text)}


def test_a_funnel_of_young_sessions_alone_says_that_it_left_them_out() -> None:
    rows = pl.DataFrame(
        {
            "panel_number": [1, 1],
            "panel": ["all templates"] * 2,
            "step": ["a", "b"],
            "reached_count": [0, 0],
            "in_order_count": [0, 0],
            "immature_count": [7, 7],
        }
    ).with_columns(rate_low=pl.lit(None, pl.Float64), rate_high=pl.lit(None, pl.Float64))
    with figures() as drawings:
        assert draw(rows, Chart("funnel", "title", "sessions")) is not None
    assert "sessions (7 too young to count are left out)" in {text.get_text() for text in drawings[0].findobj(Text)}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_draw_is_no_chart(kind: Kind, tmp_path: Path) -> None:
    some = rows_of(kind, ["a"], [1])
    for rows in (some.clear(), some.with_columns(pl.selectors.ends_with("_count") * 0)):
        assert draw(rows, Chart(kind, "title", "things")) is None
        assert drawn(tmp_path, "name", rows, Chart(kind, "title", "things")) is None


def test_equal_rows_are_drawn_once(tmp_path: Path) -> None:
    chart = Chart("by_day", "title", "things")
    rows = rows_of("by_day", ["a", "b"], [1, 2])
    with figures() as drawings:
        first = drawn(tmp_path, "name", rows, chart)
        assert drawn(tmp_path, "name", rows.clone(), chart) == first
        assert len(drawings) == 1
        changes: list[tuple[pl.DataFrame, Chart]] = [
            (rows.with_columns(row_count=pl.col("row_count") + 1), chart),
            (rows, Chart("by_day", "another title", "things")),
            (rows, Chart("by_day", "title", "other things")),
        ]
        for number, (changed_rows, changed_chart) in enumerate(changes, start=2):
            assert drawn(tmp_path, "name", changed_rows, changed_chart) != first
            assert len(drawings) == number


@pytest.mark.parametrize("damage", ["", "[]", "null", "{}", '{"digest": 1}', "{"])
def test_a_damaged_chart_is_drawn_again(tmp_path: Path, damage: str) -> None:
    chart, rows = Chart("by_day", "title", "things"), rows_of("by_day", ["a"], [1])
    first = drawn(tmp_path, "name", rows, chart)
    (tmp_path / "name.json").write_text(damage)
    with figures() as drawings:
        assert drawn(tmp_path, "name", rows, chart) == first
    assert len(drawings) == 1
    held: dict[str, Any] = json.loads((tmp_path / "name.json").read_text())
    assert held["chart"] == first
