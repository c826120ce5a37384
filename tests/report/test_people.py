"""`--with-people`: who is stuck and what happened, in a file that is its owner's alone; and no person without it."""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, expect
from typer.testing import CliRunner

from pipelines.report.page import write_page
from pipelines.report.people import Most, read_people
from pipelines.terminal.cli import app
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.report.account import HOSTILE_USER, LARGE, STUCK, settings
from tests.report.opened import Opened
from tests.warehouse.lake import Lake


@pytest.fixture
def opened(account: Lake, browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    path = write_page(settings(account), tmp_path / "people.html", with_people=True)
    with browser.new_context(viewport={"width": 1100, "height": 900}) as context:
        opened = Opened(account, context, path)
        yield opened
        assert opened.faults == []
        assert {url.split("#")[0] for url in opened.requests} == {path.as_uri()}
        assert opened.page.evaluate("typeof window.hacked") == "undefined"


def listed(opened: Opened, section: str) -> list[list[str]]:
    """The table that stands open in a section, as texts, without its head."""
    return opened.page.locator(f"#{section} table.listed tr").evaluate_all(
        "found => found.slice(1).map(line => [...line.children].map(cell => cell.textContent))"
    )


def rows_of(opened: Opened, section: str) -> list[dict[str, str]]:
    """The rows below a section, as texts."""
    lines = opened.page.locator(f"#{section} details tr").evaluate_all(
        "found => found.map(line => [...line.children].map(cell => cell.textContent))"
    )
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]] if lines else []


def assert_stuck_are_rows(opened: Opened, condition: str) -> None:
    """The counts are rows of rpt_metrics, and who is listed are all of rpt_stuck_embeds, in its order."""
    wanted = opened.ask(f"from rpt_stuck_embeds where {condition} order by can_still_be_helped desc, priority")
    assert wanted
    about = opened.page.locator("#stuck-about")
    assert about.get_attribute("data-stuck") == str(len(wanted))
    assert about.get_attribute("data-helpable") == str(sum(row["can_still_be_helped"] for row in wanted))
    assert [line[0] for line in listed(opened, "stuck")] == [str(row["embed_id"]) for row in wanted]
    rows = rows_of(opened, "stuck")
    for row, want in zip(rows, wanted, strict=True):
        for name in ("user_id", "customer_name", "step", "worst_column_key", "worst_error_code"):
            assert row[name] == (want[name] or ""), name
        for name in ("similar_submitted_rate", "similar_submitted_rate_low", "similar_count", "idle_seconds"):
            assert (float(row[name]) if row[name] else None) == pytest.approx(want[name]), name
    by_sql = opened.ask(opened.page.locator("#stuck pre").text_content() or "")
    assert [row["embed_id"] for row in by_sql] == [row["embed_id"] for row in wanted]


@pytest.mark.slow
def test_the_stuck_are_those_of_the_warehouse_and_lead_to_their_timeline(opened: Opened) -> None:
    page = opened.page
    assert_stuck_are_rows(opened, "true")
    first = listed(opened, "stuck")[0]
    assert first[0] == LARGE
    assert first[1] == "yes"
    assert first[2] == f"<img src=x onerror=window.hacked=2>, {HOSTILE_USER}, gold"
    assert first[4] == "columns_mapped: <b>sku</b>, '; drop (3 of 4 errors)"
    (row,) = opened.ask(f"from rpt_stuck_embeds where embed_id = {LARGE}")
    counts = f"{row['similar_submitted_count']} of {row['similar_count']}, this template"
    assert first[6].startswith(f"{100 * row['similar_submitted_rate']:.1f}%{counts}")
    for template, condition in (("products", "template_key = 'products'"), ("(not known)", "template_key is null")):
        opened.choose(template=template)
        assert_stuck_are_rows(opened, condition)
    opened.choose(template="products", environment="Production", plan="gold")
    assert_stuck_are_rows(opened, "template_key = 'products' and environment_name = 'Production' and plan = 'gold'")
    page.get_by_role("button", name=f"Session {LARGE}: show what happened").click()
    opened.wait()
    expect(page.locator("#session-title")).to_be_focused()
    assert_timeline(opened, LARGE)
    # Nobody is there: no row of rpt_metrics.
    opened.choose(template="all templates", environment="all")
    opened.choose(template='=HYPERLINK("http://x.invalid")', environment="all")
    expect(page.locator("#stuck-about")).to_contain_text("Open sessions that stopped moving: 0.")


def assert_timeline(opened: Opened, number: str) -> None:
    wanted = opened.ask(f"from rpt_embed_timeline where embed_id = {number} order by event_number")
    assert wanted
    rows = rows_of(opened, "session")
    for row, want in zip(rows, wanted, strict=True):
        assert row["embed_id"] == number
        assert row["event_type"] == want["event_type"]
        assert row["occurred_at"] == f"{want['occurred_at'].isoformat()}Z"
        assert (float(row["seconds_since_previous"]) if row["seconds_since_previous"] else None) == pytest.approx(
            want["seconds_since_previous"]
        )
        assert row["error_count"] == ("" if want["error_count"] is None else str(want["error_count"]))
    assert [line[3] for line in listed(opened, "session")] == [row["event_type"] for row in wanted]
    drawing = opened.page.locator("#session-drawing")
    for kind in {row["event_type"] for row in wanted}:
        expect(drawing.locator("svg")).to_contain_text(kind)
    assert number in (drawing.get_attribute("aria-label") or "")
    by_sql = opened.ask(opened.page.locator("#session pre").text_content() or "")
    assert by_sql == wanted


@pytest.mark.slow
def test_a_session_is_found_by_its_number_and_kept_in_the_address(opened: Opened) -> None:
    page, number = opened.page, page_input(opened)
    (ended,) = opened.ask("""
        select embed_id from fct_embeds where outcome = 'submitted' order by last_event_at desc limit 1
    """)
    number.focus()
    page.keyboard.type(f" 0{ended['embed_id']} ")
    page.keyboard.press("Enter")
    opened.wait()
    assert_timeline(opened, str(ended["embed_id"]))
    expect(page.locator("#session-about")).to_contain_text("submitted")
    # Filters leave it alone, and the address brings it back.
    opened.choose(template="products")
    assert_timeline(opened, str(ended["embed_id"]))
    address = page.url.partition("#")[2]
    assert f"session={ended['embed_id']}" in address
    opened.open(f"#{address}")
    assert_timeline(opened, str(ended["embed_id"]))
    opened.open(f"#session={LARGE}")
    assert_timeline(opened, LARGE)
    expect(page.locator("#session-drawing svg")).to_contain_text("4 errors")
    # One that is not on the page has its SQL, and what is no number has none.
    number.fill("9223372036854775807")
    number.press("Enter")
    opened.wait()
    expect(page.locator("#session-about")).to_contain_text("Session 9223372036854775807 is not on this page.")
    sql = page.locator("#session pre")
    expect(sql).to_have_text("from rpt_embed_timeline where embed_id = 9223372036854775807 order by event_number;")
    assert opened.ask(sql.text_content() or "") == []
    for text in ("9223372036854775808", "-1", "1; drop table fct_embeds", "1e3", "", "٤"):
        number.fill(text)
        number.press("Enter")
        expect(page.locator("#session-about")).to_have_text(f"“{text}” is not the number of a session.")
        expect(sql).to_have_text(re.compile("= 9223372036854775807 "))
    opened.open("#session=1%20or%20true")
    expect(page.locator("#filters-told")).to_contain_text("session 1 or true")
    expect(page.locator("#session pre")).to_have_count(0)


def page_input(opened: Opened) -> Any:
    return opened.page.get_by_label("Its number")


@pytest.mark.slow
def test_by_default_no_person_and_no_session_is_in_the_file(account: Lake, browser: Browser, tmp_path: Path) -> None:
    without = write_page(settings(account), tmp_path / "page.html")
    with_people = write_page(settings(account), tmp_path / "people.html", with_people=True)
    assert with_people.stat().st_size - without.stat().st_size < 5_000_000
    # As they stand in the data, where `<` is written as an escape.
    user = json.dumps(HOSTILE_USER)[1:-1].replace("<", "\\u003c")
    for planted in ("person-", "@example.invalid", user, LARGE):
        assert planted.encode() not in without.read_bytes(), planted
        assert planted.encode() in with_people.read_bytes(), planted
    # Not even the page with people holds what nobody looks at there.
    for planted in ("mail-", "stuck-0-0"):
        assert planted.encode() not in with_people.read_bytes(), planted
    # It has the counts, and the SQL.
    with browser.new_context() as context:
        opened = Opened(account, context, without)
        everybody = opened.ask("from rpt_stuck_embeds")
        helpable = [row for row in everybody if row["can_still_be_helped"]]
        about = opened.page.locator("#stuck-about")
        assert (about.get_attribute("data-stuck"), about.get_attribute("data-helpable")) == (
            str(len(everybody)),
            str(len(helpable)),
        )
        opened.choose(template="products")
        sql = opened.page.locator("#stuck pre").text_content() or ""
        wanted = opened.ask(
            "from rpt_stuck_embeds where template_key = 'products' order by can_still_be_helped desc, priority"
        )
        assert opened.ask(sql) == wanted
        assert about.get_attribute("data-stuck") == str(len(wanted))
        page_input(opened).fill(LARGE)
        page_input(opened).press("Enter")
        expect(opened.page.locator("#session pre")).to_contain_text(f"embed_id = {LARGE} ")
        expect(opened.page.locator("#session-drawing")).to_be_hidden()
        assert opened.faults == []


@pytest.mark.slow
def test_what_the_page_holds_has_a_bound(account: Lake) -> None:
    with connect_published(account.home) as connection:
        counts = dict(connection.execute("select embed_id::varchar, event_count from fct_embeds").fetchall())
        stuck = [
            row[0]
            for row in connection.execute("""
                select embed_id::varchar from rpt_stuck_embeds order by can_still_be_helped desc, priority
            """).fetchall()
        ]
        latest = [
            row[0]
            for row in connection.execute("""
                select embed_id::varchar from fct_embeds order by last_event_at desc, embed_id
            """).fetchall()
        ]
        held = cast(Any, read_people(connection, Most(stuck=2, events=30, events_of_a_session=3)))
    assert [row[0] for row in held["stuck"]["rows"]] == stuck[:2]
    # Slowly: one session after the other, until one no longer fits.
    wanted, left = list[str](), 30
    for embed_id in stuck[:2] + [embed_id for embed_id in latest if embed_id not in stuck[:2]]:
        if counts[embed_id] > 3:
            continue
        left -= counts[embed_id]
        if left < 0:
            break
        wanted.append(embed_id)
    assert len(wanted) > 2
    assert sorted(row[0] for row in held["sessions"]["rows"]) == sorted(wanted)
    assert sorted(row[0] for row in held["events"]["rows"]) == sorted(
        embed_id for embed_id in wanted for _ in range(counts[embed_id])
    )
    assert set(STUCK) & {int(embed_id) for embed_id in wanted}


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_a_file_with_people_is_its_owners_alone(account: Lake, tmp_path: Path, umask: int) -> None:
    # A folder that is shared with a group, and a page there that everybody reads.
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2777)
    path = shared / "people.html"
    path.write_text("open", encoding="utf-8")
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        write_page(settings(account), path, with_people=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in shared.iterdir()] == ["people.html"]


@pytest.mark.slow
def test_a_page_of_its_own_that_no_publish_overwrites(
    account: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBED_ANALYTICS_HOME", str(account.home.root))
    for arguments, name in (["--with-people"], "report-with-people.html"), ([], "report.html"):
        path = account.home.root / name
        path.unlink(missing_ok=True)
        done = CliRunner().invoke(app, ["report", *arguments])
        assert done.output == f"written: {path}\n"
        assert (LARGE in path.read_text(encoding="utf-8")) == bool(arguments)
    out = tmp_path / "mine.html"
    assert CliRunner().invoke(app, ["report", "--with-people", "--out", str(out)]).output == f"written: {out}\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.slow
def test_without_a_session_there_is_a_page(lake: Lake, browser: Browser) -> None:
    build(lake.home, BuildOptions(settings(lake), "test"))
    with browser.new_context() as context:
        opened = Opened(lake, context, write_page(settings(lake), with_people=True))
        expect(opened.page.locator("#stuck-about")).to_contain_text("stopped moving: 0.")
        expect(opened.page.locator("#session-about")).to_contain_text("This page holds 0 sessions")
        assert opened.faults == []
