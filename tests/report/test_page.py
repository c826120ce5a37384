"""The page in a real browser: what it shows is rpt_metrics, whatever the names are, and nothing leaves."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from axe_playwright_python.sync_playwright import Axe  # pyright: ignore[reportMissingTypeStubs]
from playwright.sync_api import Browser, expect

from pipelines.report.page import write_page
from pipelines.warehouse.build import BuildOptions, build
from tests.report.account import ENVIRONMENTS, LARGE, PLANS, TEMPLATES, page_of, settings
from tests.report.opened import Opened
from tests.warehouse.lake import START, Lake

ANNOTATIONS = 'date,text,template\n2026-03-20,Release <i>7</i>,\n2026-04-10,"broken, again",products\n'


@pytest.fixture
def opened(account: Lake, browser: Browser) -> Iterator[Opened]:
    with browser.new_context(viewport={"width": 1100, "height": 900}) as context:
        opened = Opened(account, context, page_of(account, ANNOTATIONS))
        yield opened
        assert opened.faults == []
        assert {url.split("#")[0] for url in opened.requests} == {opened.path.as_uri()}


def shown(value: float | None) -> float | str:
    return "null" if value is None else pytest.approx(value, rel=1e-8)  # pyright: ignore[reportReturnType]


def assert_numbers_are_rows(opened: Opened, **names: str | None) -> None:
    """The page's numbers, and those that its own SQL answers, are the rows of rpt_metrics with exactly these names."""
    conditions = ["is_all_customers"]
    for column, flag in (
        ("environment_name", "is_all_environments"),
        ("template_key", "is_all_templates"),
        ("plan", "is_all_plans"),
    ):
        if column in names:
            name = names[column]
            text = "null" if name is None else "'" + name.replace("'", "''") + "'"
            conditions.append(f"not {flag} and {column} is not distinct from {text}")
        else:
            conditions.append(flag)
    rows = opened.ask(f"from rpt_metrics where {' and '.join(conditions)}")
    values = {(row["metric"], row["period"]): row["value"] for row in rows if row["period"].endswith("28_days")}
    told = {key: value for key, value in opened.told().items() if key[1] is not None}
    assert len(told) == 10
    for key, value in told.items():
        assert ("null" if value == "null" else float(value)) == shown(values.get(key)), key
    by_sql = opened.ask(opened.page.locator("#numbers pre").text_content() or "")
    assert {(row["metric"], row["period"]): row["value"] for row in by_sql} == {
        key: value for key, value in values.items() if key in told
    }
    over_time = opened.ask(opened.page.locator("#conversion pre").text_content() or "")
    lines = opened.page.locator("#conversion tr").all_text_contents()[1:]
    assert len(lines) == len(over_time)


@pytest.mark.slow
def test_filters_change_the_numbers_and_every_number_is_a_row(opened: Opened) -> None:
    assert_numbers_are_rows(opened)
    everything = opened.told()
    # The quality of the data is that of all of it, whatever is chosen.
    of_all = "is_all_templates and is_all_environments and is_all_plans"
    now = {row["metric"]: row["value"] for row in opened.ask(f"from rpt_metrics where period = 'now' and {of_all}")}
    quality = {metric: value for (metric, period), value in everything.items() if period is None}
    assert {"failed_embeds", "held_events", "quarantined_events", "stuck"} <= quality.keys()
    for metric, value in quality.items():
        assert ("null" if value == "null" else float(value)) == shown(now[metric]), metric
    opened.choose(template="products")
    assert_numbers_are_rows(opened, template_key="products")
    assert opened.told() != everything
    opened.choose(environment="Production", plan="gold", grain="month")
    assert_numbers_are_rows(opened, template_key="products", environment_name="Production", plan="gold")
    assert "period in ('month')" in (opened.page.locator("#conversion pre").text_content() or "")
    # The address says what is chosen, and brings it back.
    address = opened.page.url.partition("#")[2]
    chosen = opened.told()
    opened.open(f"#{address}")
    assert opened.told() == chosen
    expect(opened.page.locator("#grain")).to_have_value("month")
    opened.open("#template==nonesuch&by=year")
    expect(opened.page.locator("#filters-told")).to_contain_text("template nonesuch")
    assert opened.told() == everything


@pytest.mark.slow
def test_any_name_is_only_text(opened: Opened) -> None:
    page = opened.page
    labels = page.locator("#template option").all_text_contents()
    assert len(labels) == len(TEMPLATES) + 1
    for place, name in enumerate(TEMPLATES):
        label = "(not known)" if name is None else name if name.strip() else f"“{name}”"
        assert label in labels
        # By its place, since the page's own word for all is a template's name, too.
        option = page.locator("#template option").filter(has_text=re.compile(f"^{re.escape(label)}$"))
        assert option.count() == (2 if name == "all templates" else 1), place
        page.evaluate("delete document.body.dataset.drawn")
        page.locator("#template").select_option(value=option.last.get_attribute("value"))
        opened.wait()
        assert_numbers_are_rows(opened, template_key=name)
        address = page.url.partition("#")[2]
        opened.open(f"#{address}")
        assert_numbers_are_rows(opened, template_key=name)
    for name in ENVIRONMENTS:
        opened.open()
        opened.choose(environment="(not known)" if name is None else name)
        assert_numbers_are_rows(opened, environment_name=name)
    for name in PLANS:
        opened.open()
        opened.choose(plan="(not known)" if name is None else name)
        assert_numbers_are_rows(opened, plan=name)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("main img, main script, main b, main i").count() == 0


@pytest.mark.slow
def test_the_page_says_whether_to_believe_it(opened: Opened) -> None:
    freshness = opened.page.locator("#freshness")
    expect(freshness).to_have_text("Data through 2026-05-16 09:00 UTC, 1 h 0 min ago.")
    assert "late" not in (freshness.get_attribute("class") or "")
    opened.open(hours=3.1)
    expect(freshness).to_contain_text("This is late: it should be at most 3 h 0 min.")
    expect(freshness).to_have_class("late")
    # The build itself came long after the data, and two deliveries could not be read.
    expect(opened.page.locator("#warnings")).to_contain_text("data_fresh")
    expect(opened.page.locator("#warnings")).to_contain_text("quarantine_empty")
    expect(opened.page.locator("#quality .alarm").filter(has_text="Quarantined")).to_have_count(1)


@pytest.mark.slow
def test_days_are_the_worst_of_the_warehouse_and_only_text(opened: Opened) -> None:
    by_sql = opened.ask(opened.page.locator("#completeness pre").text_content() or "")
    assert len(by_sql) == opened.ask("select count(*) as n from meta_completeness")[0]["n"] > 60
    lines = opened.page.locator("#completeness table.listed tr").evaluate_all(
        "found => found.slice(1).map(line => [...line.children].map(cell => cell.textContent))"
    )
    assert lines == [
        [str(row["event_date"]), row["environment_name"] or "(not known)", row["verdict"], row["reason"]]
        for row in by_sql[:14]
    ]
    assert opened.told()["incomplete_days", None] == str(sum(row["verdict"] == "incomplete" for row in by_sql))
    assert {row["environment_name"] for row in by_sql} == {*ENVIRONMENTS}


@pytest.mark.slow
def test_pictures_have_tables_lines_and_a_csv_that_no_spreadsheet_runs(opened: Opened) -> None:
    page = opened.page
    about = page.locator("#conversion-about")
    expect(about).to_contain_text("2026-03-20 Release <i>7</i>; 2026-04-10 products: broken, again")
    expect(page.locator("#conversion-drawing svg")).to_contain_text("Release <i>7</i>")
    opened.choose(template="all")
    expect(about).not_to_contain_text("broken, again")
    opened.choose(template='=HYPERLINK("http://x.invalid")')
    page.locator("#funnel summary").filter(has_text="Rows").click()
    with page.expect_download() as download:
        page.locator("#funnel").get_by_role("button", name="Download as CSV").click()
    lines = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    formula = """template_key = '=HYPERLINK("http://x.invalid")'"""
    rows = opened.ask(f"""
        from rpt_metrics where {formula} and is_all_environments and is_all_plans and period = 'last_28_days'
            and metric = 'reached' order by step_number
    """)
    reached = [line for line in lines if line["metric"] == "reached" and line["period"] == "last_28_days"]
    assert [(line["step"], int(line["numerator"])) for line in reached] == [(r["step"], r["numerator"]) for r in rows]
    assert {line["template_key"] for line in lines} == {'\'=HYPERLINK("http://x.invalid")'}
    assert page.locator("#funnel-drawing svg").count() == 1


@pytest.mark.slow
def test_it_prints_to_two_pages_with_dark_letters(account: Lake, browser: Browser) -> None:
    with browser.new_context(color_scheme="dark") as context:
        opened = Opened(account, context, page_of(account, ANNOTATIONS))
        page = opened.page

        def letters() -> set[str]:
            return set(
                page.locator(".drawing svg text").evaluate_all("found => found.map(one => getComputedStyle(one).fill)")
            )

        assert "rgb(230, 237, 243)" in letters()
        assert page.pdf(format="A4").count(b"/Type /Page\n") == 2
        page.emulate_media(media="print")
        # What is drawn follows by itself: nobody waits for a drawing before it prints.
        assert letters() <= {"rgb(0, 0, 0)", "rgb(51, 51, 51)"}
        for only_on_a_screen in ("#filters", "#session", "#funnel details >> nth=0"):
            expect(page.locator(only_on_a_screen)).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_cannot_see_it_can_use_it(
    account: Lake, browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    """With people, since that page has everything that the other one has."""
    path = write_page(settings(account), tmp_path / "page.html", with_people=True)
    with browser.new_context(color_scheme=scheme) as context:
        opened = Opened(account, context, path)
        opened.open(f"#session={LARGE}")
        for summary in opened.page.locator("summary").all():
            summary.click()
        drawings = opened.page.locator(".drawing:visible")
        labels = drawings.evaluate_all("found => found.map(one => one.ariaLabel)")
        assert len(set(labels) - {None, "", "Vega visualization"}) == drawings.count()
        found = cast(list[dict[str, Any]], Axe().run(opened.page).response["violations"])
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_a_warehouse_without_a_session_has_a_page(lake: Lake, browser: Browser) -> None:
    build(lake.home, BuildOptions(settings(lake), "test"))
    with browser.new_context() as context:
        opened = Opened(lake, context, page_of(lake))
        expect(opened.page.locator("#freshness")).to_have_class("late")
        expect(opened.page.locator("#numbers-period")).to_contain_text("No session began on a mature day")
        expect(opened.page.locator("#funnel-drawing")).to_have_text("No sessions.")
        assert opened.told()["held_events", None] == "0"
        assert opened.faults == []


def test_the_file_is_private_and_asks_for_nothing(account: Lake) -> None:
    path = page_of(account, ANNOTATIONS)
    assert path == account.home.root / "report.html"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size < 5_000_000
    before, _, rest = path.read_text(encoding="utf-8").partition('<script type="application/json" id="told">')
    data = rest.partition("</script>")[0]
    assert "default-src 'none'" in before
    # No name ends its script, or opens a comment in it.
    assert "<" not in data
    assert f"{START:%Y-%m}" in data
    # Aggregates alone: no session and no person.
    assert "user_id" not in data.partition('"definition":')[0]
