"""The customers on the page: which, in which order, and that each number is a row of rpt_metrics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, expect

from pipelines.report.customers import FEWEST_SESSIONS, read_customers
from pipelines.report.page import write_page
from pipelines.settings import Settings
from pipelines.warehouse.published import connect_published
from tests.report.account import CUSTOMER_IDS, CUSTOMERS, FALLEN, settings
from tests.report.opened import Opened
from tests.warehouse.lake import Lake


@pytest.fixture
def opened(account: Lake, browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    with browser.new_context() as context:
        opened = Opened(account, context, write_page(settings(account), tmp_path / "page.html"))
        yield opened
        assert opened.faults == []
        assert opened.page.evaluate("typeof window.hacked") == "undefined"


def expected(opened: Opened, template: str | None = None, *, is_all: bool = True) -> list[dict[str, Any]]:
    """From the definition: the customers with sessions enough in both periods, from their rows of rpt_metrics."""
    rows = opened.ask("from rpt_metrics where metric = 'submitted' and not is_all_customers")
    by_period = {
        period: {
            row["customer_id"]: row
            for row in rows
            if row["period"] == period and row["is_all_templates"] == is_all and row["template_key"] == template
        }
        for period in PERIODS
    }
    compared: list[dict[str, Any]] = []
    for customer, last in by_period["last_28_days"].items():
        before = by_period["previous_28_days"].get(customer)
        if before and min(last["denominator"], before["denominator"]) >= FEWEST_SESSIONS:
            compared.append(
                {
                    "customer_id": customer,
                    "customer_name": CUSTOMERS[CUSTOMER_IDS.index(customer)],
                    **{name: before[field] for name, field in zip(BEFORE, FIELDS, strict=True)},
                    **{name: last[field] for name, field in zip(NOW, FIELDS, strict=True)},
                    "fell_beyond_interval": last["high"] < before["low"],
                }
            )
    return sorted(
        compared,
        key=lambda row: (not row["fell_beyond_interval"], row["rate"] - row["rate_before"], row["customer_id"]),
    )


PERIODS = ("previous_28_days", "last_28_days")
FIELDS = ("numerator", "denominator", "value", "low", "high")
BEFORE = ("submitted_before", "sessions_before", "rate_before", "rate_before_low", "rate_before_high")
NOW = ("submitted", "sessions", "rate", "rate_low", "rate_high")


def rows_of(opened: Opened) -> list[dict[str, str]]:
    """The rows under the picture, as texts."""
    lines = opened.page.locator("#customers tr").evaluate_all(
        "found => found.map(line => [...line.children].map(cell => cell.textContent))"
    )
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]] if lines else []


def assert_shows(opened: Opened, wanted: list[dict[str, Any]]) -> None:
    shown = rows_of(opened)
    assert [row["customer_id"] for row in shown] == [row["customer_id"] for row in wanted]
    for row, want in zip(shown, wanted, strict=True):
        for name, value in want.items():
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value), name
            else:
                text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                assert row[name] == text, name
    by_sql = opened.ask(opened.page.locator("#customers pre").text_content() or "")
    assert [{name: row[name] for name in want} for row, want in zip(by_sql, wanted, strict=True)] == wanted


@pytest.mark.slow
def test_worst_falls_come_first_and_every_number_is_a_row(opened: Opened) -> None:
    page = opened.page
    wanted = expected(opened)
    assert len(wanted) == len(CUSTOMERS)
    assert (wanted[0]["customer_id"], wanted[0]["fell_beyond_interval"]) == (CUSTOMER_IDS[FALLEN], True)
    assert any(row["rate"] > row["rate_before"] for row in wanted)
    assert_shows(opened, wanted)
    drawing = page.locator("#customers-drawing svg")
    # Any name is only text, and two of one name can be told apart.
    for label in (CUSTOMERS[FALLEN], "Acme (1)", "Acme (2)", "“ ”", "nameless", "fell beyond its interval"):
        expect(drawing).to_contain_text(label or "")
    expect(drawing.locator("img")).to_have_count(0)
    opened.choose(template="products")
    assert 0 < len(expected(opened, "products", is_all=False)) <= len(CUSTOMERS)
    assert_shows(opened, expected(opened, "products", is_all=False))
    expect(page.locator("#customers-about")).not_to_contain_text("whatever is chosen above")
    # These filters do not apply, and the page says so.
    opened.choose(environment="Production", plan="gold")
    assert_shows(opened, expected(opened, "products", is_all=False))
    expect(page.locator("#customers-about")).to_contain_text("in all environments and plans, whatever is chosen above")
    opened.choose(template="(not known)")
    assert rows_of(opened) == []
    expect(page.locator("#customers-about")).to_contain_text("0 are compared")
    expect(page.locator("#customers-drawing")).to_be_hidden()


def test_a_fall_that_chance_does_not_explain_comes_before_a_larger_one_that_it_does() -> None:
    """By hand: sessions and submissions of each customer before and now, with the ends of the rates' intervals."""
    given = {
        "rose": [(5, 20, 0.11, 0.47), (9, 20, 0.26, 0.66)],
        "large": [(12, 20, 0.39, 0.78), (6, 20, 0.15, 0.52)],
        "clear": [(5000, 10_000, 0.49, 0.51), (4500, 10_000, 0.44, 0.46)],
        "touches": [(50, 100, 0.40, 0.60), (30, 100, 0.22, 0.40)],
        "few": [(19, 19, 0.83, 1.0), (0, 400, 0.0, 0.01)],
        "same-b": [(5, 20, 0.11, 0.47), (5, 20, 0.11, 0.47)],
        "same-a": [(5, 20, 0.11, 0.47), (5, 20, 0.11, 0.47)],
    }
    with duckdb.connect() as connection:
        connection.execute("""
            create table rpt_metrics (
                metric text, period text, is_all_customers bool, customer_id text, is_all_templates bool,
                template_key text, numerator bigint, denominator bigint, value double, low double, high double
            );
            create table rpt_customers (customer_id text, customer_name text, plan text, last_seen_at timestamp,
                template_key text);
            comment on table rpt_metrics is 'numbers';
            comment on table rpt_customers is 'customers';
            insert into rpt_customers values
                ('clear', 'Old', 'gold', '2026-01-01', 'a'), ('clear', 'New', null, '2026-01-02', 'b'),
                ('clear', null, null, '2026-01-03', 'c'), ('clear', 'Never', 'free', null, 'd');
        """)
        for customer, periods in given.items():
            for period, (submitted, sessions, low, high) in zip(PERIODS, periods, strict=True):
                counts = [submitted, sessions, submitted / sessions, low, high]
                row = ["submitted", period, False, customer, True, None, *counts]
                connection.execute(f"insert into rpt_metrics values ({', '.join('?' * len(row))})", row)
        named = Settings.defaults(embed_analytics_customer_claim="org.name")
        held = read_customers(connection, named) or {}
        unnamed = read_customers(connection, Settings.defaults())
    rows = [dict(zip(held["columns"], row, strict=True)) for row in held["rows"]]
    assert [row["customer_id"] for row in rows] == ["clear", "large", "touches", "same-a", "same-b", "rose"]
    assert [row["customer_id"] for row in rows if row["fell_beyond_interval"]] == ["clear"]
    assert (rows[0]["customer_name"], rows[0]["plan"], rows[1]["customer_name"]) == ("New", "gold", None)
    assert {row["customer_count"] for row in rows} == {6}
    assert held["definition"] == "numbers\n\ncustomers"
    assert unnamed is None


@pytest.mark.slow
def test_without_a_claim_the_page_says_how_to_name_it(account: Lake, browser: Browser, tmp_path: Path) -> None:
    unnamed = Settings.defaults(embed_analytics_home=account.home.root, embed_analytics_plan_claim="plan")
    path = write_page(unnamed, tmp_path / "page.html")
    assert "Acme" not in path.read_text(encoding="utf-8")
    with browser.new_context() as context:
        opened = Opened(account, context, path)
        expect(opened.page.locator("#customers-about")).to_contain_text("EMBED_ANALYTICS_CUSTOMER_CLAIM")
        expect(opened.page.locator("#customers details")).to_have_count(0)
        assert opened.faults == []


@pytest.mark.slow
def test_what_is_left_out_is_the_least_bad_and_is_counted(account: Lake) -> None:
    with connect_published(account.home) as connection:
        whole, cut = (read_customers(connection, settings(account), most) or {} for most in (100, 2))
    columns: Any = whole["columns"]
    of_all: list[list[Any]] = []
    for held in (whole, cut):
        rows: Any = held["rows"]
        of_all.append([row for row in rows if row[columns.index("is_all_templates")]])
    assert of_all[1] == of_all[0][:2]
    assert {row[columns.index("customer_count")] for row in of_all[0]} == {len(CUSTOMERS)}
