"""The digest, the page and rpt_metrics say the same; what moved and who fell is what SQL says from the facts up."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser

from pipelines.digest.document import Document, Section
from pipelines.digest.numbers import Numbers, read_numbers
from pipelines.digest.plain import text
from pipelines.digest.sending import read_digest
from pipelines.errors import PermanentError, WarehouseMissingError
from pipelines.home.layout import Home
from pipelines.report.page import write_page
from pipelines.settings import Settings
from pipelines.warehouse.published import connect_published
from tests.digest.account import DATA_THROUGH, FALLEN, settings
from tests.report.conftest import browser as browser
from tests.warehouse.lake import Lake

CARDS = ("sessions", "submitted", "delivered", "seconds_to_submit_median", "seconds_to_submit_p90")


@pytest.fixture(scope="module")
def document(account: Lake) -> Document:
    return read_digest(settings(account), DATA_THROUGH + timedelta(hours=1))


@pytest.fixture(scope="module")
def numbers(account: Lake) -> Numbers:
    with connect_published(account.home) as connection:
        return read_numbers(connection)


def ask(account: Lake, sql: str) -> list[tuple[Any, ...]]:
    with connect_published(account.home) as connection:
        return connection.execute(sql).fetchall()


def section(document: Document, words: str) -> Section:
    (found,) = [section for section in document.sections if words in section.heading]
    return found


@pytest.mark.slow
def test_the_page_says_the_same_in_the_same_words(account: Lake, document: Document, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(write_page(settings(account)).as_uri())
    page.wait_for_selector("body[data-drawn]")
    rows = section(document, "Sessions that began").rows
    assert len(rows) == len(CARDS)
    for metric, row in zip(CARDS, rows, strict=True):
        for period, cell in (("last_28_days", row.now), ("previous_28_days", row.before)):
            line = page.locator(f'#cards [data-metric="{metric}"][data-period="{period}"]')
            assert line.inner_text().removeprefix("28 days before: ") == cell.value
            if cell.about:
                assert line.locator("xpath=following-sibling::p[1]").inner_text() == cell.about
    # Customers as well, each with its two rates.
    drawn = page.locator("#customers-drawing svg text").all_text_contents()
    rows = section(document, "fell").rows
    assert [text for text in drawn if "→" in text][: len(rows)] == [
        f"{row.before.value} → {row.now.value}" for row in rows
    ]
    said = {line.text[0] for line in section(document, "believed").lines}
    for name in ("broken_sweeps", "failed_embeds", "held_events", "quarantined_events", "unreconciled_days"):
        shown = page.locator(f'#quality [data-metric="{name}"]').inner_text()
        assert any(line.endswith(f": {shown}") for line in said), (name, said)


def test_the_four_numbers_are_rows_of_rpt_metrics(account: Lake, document: Document) -> None:
    rows = section(document, "Sessions that began").rows
    for metric, row in zip(CARDS, rows, strict=True):
        for period, cell in (("last_28_days", row.now), ("previous_28_days", row.before)):
            ((value, n, low, high),) = ask(
                account,
                f"""
                select value, denominator, low, high from rpt_metrics
                where metric = '{metric}' and period = '{period}' and is_all_environments and is_all_templates
                    and is_all_plans and is_all_customers
                """,
            )
            if metric == "sessions":
                assert (cell.value, cell.about) == (f"{value:.0f}", "")
                continue
            assert f" {n}. 95 %: " in f" {cell.about}"
            if metric.startswith("seconds"):
                assert [seconds(part) for part in (cell.value, *interval(cell.about))] == pytest.approx(
                    [value, low, high], abs=0.5
                )
            else:
                shares = [float(part.removesuffix("%")) / 100 for part in (cell.value, *interval(cell.about))]
                assert shares == pytest.approx([value, low, high], abs=0.00051)


def interval(about: str) -> list[str]:
    return about.partition("95 %: ")[2].split(" to ")


def seconds(words: str) -> float:
    """The seconds of `2 min 3 s`."""
    units = {"s": 1, "min": 60, "h": 3600}
    parts = words.split()
    return sum(float(n) * units[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))


def test_what_moved_is_every_pair_of_intervals_that_do_not_overlap(account: Lake, numbers: Numbers) -> None:
    expected = ask(
        account,
        """
        with compared as (
            select * from rpt_metrics
            where is_all_environments and is_all_plans and is_all_customers and period like '%28_days'
                and metric in (
                    'submitted', 'delivered', 'dropped', 'seconds_to_submit_median', 'seconds_to_submit_p90'
                )
        )

        select one.is_all_templates, one.template_key, one.metric, one.step, one.value, other.value
        from compared as one
        inner join compared as other
            on one.metric = other.metric and one.step is not distinct from other.step
            and one.template_key is not distinct from other.template_key
            and one.is_all_templates = other.is_all_templates
        where one.period = 'last_28_days' and other.period = 'previous_28_days'
            and (one.low > other.high or one.high < other.low)
        """,
    )
    found = [
        (each.is_all_templates, each.template, each.metric, each.step, each.now.value, each.before.value)
        for each in numbers.moved
    ]
    assert len(found) > 3
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    # All templates together first, and then the ones with the most sessions.
    assert found[0][0]
    assert next(template for is_all, template, *_ in found if not is_all) == "products"


def test_who_fell_is_counted_from_the_sessions(account: Lake, numbers: Numbers, document: Document) -> None:
    last = DATA_THROUGH - timedelta(days=8)
    rates = ask(
        account,
        f"""
        with counted as (
            select
                customer_name, date_diff('day', entry_date, date '{last:%Y-%m-%d}') // 28 as period,
                count(*) as n, count(*) filter (outcome = 'submitted') as k
            from fct_embeds
            where entry_date between date '{last - timedelta(days=55):%Y-%m-%d}' and date '{last:%Y-%m-%d}'
            group by all
        )

        select one.customer_name, one.k, one.n, other.k, other.n
        from counted as one
        inner join counted as other on one.customer_name = other.customer_name
        where one.period = 0 and other.period = 1 and one.n >= 20 and other.n >= 20
            and one.k / one.n < other.k / other.n
        order by
            wilson_high(one.k, one.n) < wilson_low(other.k, other.n) desc,
            other.k / other.n - one.k / one.n desc
        """,
    )
    found = [
        (each.customer, each.now.numerator, each.now.denominator, each.before.numerator, each.before.denominator)
        for each in numbers.falls
    ]
    assert found == rates
    assert len(found) > 1
    assert found[0][0] == FALLEN
    assert numbers.falls[0].now.is_apart_from(numbers.falls[0].before)
    rows = section(document, "fell").rows
    assert [row.now.out_of for row in rows] == [f"{k} of {n}" for _, k, n, *_ in rates]
    assert [row.before.out_of for row in rows] == [f"{k} of {n}" for *_, k, n in rates]


def test_customers_are_named_where_a_setting_names_them_alone(account: Lake) -> None:
    silent = Settings.defaults(embed_analytics_home=account.home.root)
    headings = [each.heading for each in read_digest(silent, DATA_THROUGH).sections]
    assert not any("Customers" in heading for heading in headings)


def test_late_data_is_said_first(account: Lake) -> None:
    fresh = read_digest(settings(account), DATA_THROUGH + timedelta(hours=3))
    assert fresh.lead.text == [f"Data through {DATA_THROUGH:%Y-%m-%d %H:%M} UTC, 3 h 0 min ago."]
    assert not fresh.lead.is_alarm
    late = read_digest(settings(account), DATA_THROUGH + timedelta(hours=3, seconds=1))
    assert late.lead.is_alarm
    assert text(late.lead.text).endswith("This is late: it should be at most 3 h 0 min.")


def test_quality_is_an_alarm_where_something_is_wrong(document: Document) -> None:
    lines = {text(line.text): line.is_alarm for line in section(document, "believed").lines}
    assert lines["Quarantined: 2"]
    assert lines["Embeds that failed: 1"]
    assert not lines["Sweeps that broke off since: 0"]
    # No reconcile has compared.
    assert lines["At the vendor, not held: not known"] is False
    assert any(said.startswith("Does not hold: “quarantine_empty” found “") for said, alarm in lines.items() if alarm)


def test_the_page_is_named_where_it_is(account: Lake, home: Home) -> None:
    def ends(**changes: Any) -> str:
        document = read_digest(Settings.defaults(embed_analytics_home=home.root, **changes), DATA_THROUGH)
        return str(document.link) + "".join(text(line.text) for line in document.ends)

    assert "embed-analytics report writes a page" in ends()
    home.report.write_text("", encoding="utf-8")
    assert f"The page with all of it: {home.report}" in ends()
    linked = ends(embed_analytics_report_url="https://example.com/report.html#by=week")
    assert linked.startswith("https://example.com/report.html#by=week")
    assert str(home.root) not in linked


def test_what_was_never_published_or_by_an_older_version(home: Home) -> None:
    import duckdb

    with duckdb.connect(home.warehouse) as connection:
        connection.execute("drop table builder.checks")
    before = read_digest(Settings.defaults(embed_analytics_home=home.root), DATA_THROUGH)
    assert any("Which checks hold is not known" in text(line.text) for line in before.sections[-1].lines)
    with duckdb.connect(home.warehouse) as connection:
        connection.execute("drop view rpt_metrics")
    with pytest.raises(PermanentError, match="older version"):
        read_digest(Settings.defaults(embed_analytics_home=home.root), DATA_THROUGH)
    home.warehouse.write_bytes(b"no database" * 1000)
    with pytest.raises(PermanentError, match="cannot be read"):
        read_digest(Settings.defaults(embed_analytics_home=home.root), DATA_THROUGH)
    home.warehouse.unlink()
    with pytest.raises(WarehouseMissingError):
        read_digest(Settings.defaults(embed_analytics_home=home.root), DATA_THROUGH)


def test_a_warehouse_without_a_session_has_a_digest(lake_without_sessions: Lake) -> None:
    document = read_digest(settings(lake_without_sessions), DATA_THROUGH)
    assert document.lead.is_alarm
    assert document.summary == "no session on a mature day"
    assert [len(each.rows) for each in document.sections] == [0] * 5
