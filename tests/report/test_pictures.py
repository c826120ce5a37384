"""The pictures of errors, times and repairs in a real browser: what they show are the rows of their views."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, Page, expect

from pipelines.report.page import write_page
from pipelines.report.tables import FEWEST_PAIRS_HELD, PAIRS_HELD, ROWS_OF_PAIRS
from tests.report.account import CODES, COLUMNS, OPERATIONS, settings
from tests.report.opened import Opened
from tests.warehouse.lake import Lake

SECTIONS = ("leaving", "times", "spans", "repair")
CHOICES: list[dict[str, str]] = [
    {},
    {"template": "products"},
    {"template": "(not known)", "plan": "gold"},
    {"environment": "(not known)"},
    {"environment": "Production", "template": "products", "plan": "(not known)"},
]


@pytest.fixture
def opened(account: Lake, browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    with browser.new_context(viewport={"width": 1100, "height": 900}) as context:
        opened = Opened(account, context, write_page(settings(account), tmp_path / "page.html"))
        yield opened
        assert opened.faults == []


def cells(page: Page, section: str) -> list[dict[str, str]]:
    """The rows of the table beneath a picture."""
    lines = page.eval_on_selector_all(
        f"#{section} tr", "lines => lines.map(line => [...line.children].map(cell => cell.textContent))"
    )
    names, *rows = cast(list[list[str]], lines)
    return [dict(zip(names, row, strict=True)) for row in rows]


def as_shown(value: Any, cell: str, *, is_all: bool) -> Any:
    """What a cell must say for a value."""
    if is_all:
        return "(all)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        # The page holds what can be seen.
        return cell if float(cell) == pytest.approx(value, rel=1e-5, abs=1e-3 if value > 10 else 2e-6) else value
    return "" if value is None else value


def assert_shown(opened: Opened, section: str) -> list[dict[str, Any]]:
    """The table holds what the section's own SQL answers."""
    sql = opened.page.locator(f"#{section} pre").text_content() or ""
    rows = opened.ask(sql)
    found = cells(opened.page, section)
    assert len(found) == len(rows)
    # Where all templates are drawn, theirs is another order.
    if section == "spans":
        found.sort(key=lambda line: (line["template_key"] == "", line["template_key"], line["step_number"]))
        rows.sort(key=lambda row: (not row["template_key"], row["template_key"] or "", row["step_number"]))
    for line, row in zip(found, rows, strict=True):
        flags = {"environment_name": "is_all_environments", "template_key": "is_all_templates", "plan": "is_all_plans"}
        expected = {name: as_shown(row[name], line[name], is_all=name in flags and row[flags[name]]) for name in line}
        assert line == expected
    return rows


@pytest.mark.slow
def test_what_is_shown_are_the_rows_of_what_is_chosen(opened: Opened) -> None:
    page = opened.page
    told: list[list[int]] = []
    choices = len(opened.ask("from rpt_error_outcomes where pair_number = 1"))
    most = min(PAIRS_HELD, max(FEWEST_PAIRS_HELD, ROWS_OF_PAIRS // choices))
    for names in CHOICES:
        opened.open()
        if names:
            opened.choose(**names)
        shown = {section: assert_shown(opened, section) for section in SECTIONS}
        leaving = shown["leaving"]
        told.append([row["session_count"] for row in leaving])
        assert page.locator("#leaving-drawing .mark-symbol.role-mark path").count() == len(leaving)
        assert page.locator("#repair-drawing .mark-symbol.role-mark path").count() == len(shown["repair"])
        pairs = leaving[0]["pair_count"] if leaving else 0
        assert len(leaving) == min(pairs, most)
        left_out = page.locator("#leaving-about").filter(has_text=f"the other {pairs - most} are in")
        assert left_out.count() == (pairs > most)
        assert len({row["step"] for row in shown["times"]}) == 4
    # All of them, and each choice its own.
    assert len(told[0]) == most < PAIRS_HELD
    assert len({tuple(each) for each in told}) == len(CHOICES)


@pytest.mark.slow
def test_any_column_code_and_operation_is_only_text(opened: Opened) -> None:
    page = opened.page
    # Beyond the page's limit every pair is in the view, under its own name.
    held = {(row["column_key"], row["error_code"]) for row in opened.ask("from rpt_error_outcomes where is_all_plans")}
    assert {column for column, _ in held} == {*COLUMNS}
    assert {code for _, code in held} == {*CODES}
    drawn = {row["operation"] for row in assert_shown(opened, "repair") if row["has_operation"]}
    assert drawn == {*OPERATIONS}
    labels = page.locator("#leaving-drawing .role-axis-label text").all_text_contents()
    for name in ("sku", "__proto__", "constructor", "“”", "<img src=x onerror=window.hacked=2>", "datum['x']"):
        assert name in labels
    shown = page.locator("#vg-tooltip-element")
    for section in ("leaving", "repair"):
        for circle in page.locator(f"#{section}-drawing .mark-symbol.role-mark path").all():
            # Else the tooltip before may lie over it.
            page.mouse.move(0, 0)
            circle.hover(force=True)
            expect(shown).to_be_visible()
            assert shown.locator("img, script, b, i").count() == 0
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("main img, main script, main b, main i").count() == 0
    label = page.locator("#leaving-drawing").get_attribute("aria-label") or ""
    assert re.search(r"\b\d+ pairs\b", label)


@pytest.mark.slow
def test_few_sessions_have_no_colour(opened: Opened) -> None:
    rows = assert_shown(opened, "leaving")
    colours = opened.page.eval_on_selector_all(
        "#leaving-drawing .mark-symbol.role-mark path", "found => found.map(path => path.getAttribute('fill'))"
    )
    grey = "var(--line)"
    assert [colour == grey for colour in colours] == [row["session_count"] < 20 for row in rows]
    assert 0 < colours.count(grey) < len(colours)
