"""The real UI in a real browser: what analysts and data engineers do in Dagster, from a backfill to a red check.

Needs Debian's chromium. UI_SCREENSHOTS=docs writes the screenshots that the documentation shows.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from pipelines.home.layout import Home
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.models import load_models
from tests.orchestration.alert_endpoint import AlertEndpoint
from tests.orchestration.backfilling import ALL_DONE, PARTITIONS, RUNS, backfill_from_the_asset_page, opened_browser
from tests.orchestration.dev_server import DevServer, dev_server
from tests.orchestration.test_runs import lose_an_event

EMBEDS = 120
HISTORY_DAYS = 6
BACKFILL_DAYS = 10

AUTOMATIONS = ("refresh_schedule", "reconcile_schedule", "prune_schedule", "alerts", "publish_after_backfill")

ALERT_TICKS = """
{ sensorOrError(sensorSelector: {
    repositoryName: "__repository__", repositoryLocationName: "embed_analytics", sensorName: "alerts"
  }) { ... on Sensor { sensorState { ticks(limit: 100) { tickId timestamp skipReason error { message } } } } } }
"""


@dataclass(frozen=True)
class World:
    """Everything at work: the simulated vendor, `make dev` on a home, the alert endpoint, and a page in a browser."""

    simulator: RunningSimulator
    home: Home
    server: DevServer
    alerts: AlertEndpoint
    page: Page

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.server.url}{path}")
        return self.page


@pytest.fixture
def world(tmp_path: Path, alert_endpoint: AlertEndpoint) -> Iterator[World]:
    home = Home(tmp_path / "home")
    options = SimulatorOptions(embeds=EMBEDS, days=HISTORY_DAYS, seed=11, now=None, clock_runs=True)
    with running_simulator(options) as simulator:
        environment = {
            "ONESCHEMA_API_KEY": simulator.api_key,
            "EMBED_ANALYTICS_HOME": str(home.root),
            "EMBED_ANALYTICS_START_DATE": str(_today() - timedelta(days=30)),
            # Out of the way of the test, which launches its runs itself.
            "EMBED_ANALYTICS_REFRESH_CRON": "0 0 29 2 *",
            "EMBED_ANALYTICS_ALERT_WEBHOOK_URL": alert_endpoint.url,
            "EMBED_ANALYTICS_CUSTOMER_CLAIM": "org.name",
        }
        # The environment wins over `.env`, in Dagster's processes as well.
        (tmp_path / ".env").write_text(
            f"ONESCHEMA_API_URL={simulator.url}\nONESCHEMA_API_KEY=\nEMBED_ANALYTICS_HOME=another\n", encoding="utf-8"
        )
        with (
            dev_server(environment, tmp_path, tmp_path / "dev.log") as server,
            sync_playwright() as playwright,
            opened_browser(playwright) as page,
        ):
            yield World(simulator, home, server, alert_endpoint, page)


@pytest.mark.slow
def test_backfill_tables_schedules_and_a_broken_check(world: World) -> None:
    _wait_for_alerts_to_watch(world)
    first, last = _today() - timedelta(days=BACKFILL_DAYS - 1), _today()
    _backfill_from_the_asset_page(world, first, last)
    _see_every_partition_filled(world, first, last)
    _see_a_partition_with_its_chart(world, last)
    _see_a_table_with_schema_rows_and_checks(world)
    _see_the_page_and_what_the_run_did(world)
    _see_the_names_whole(world)
    _see_the_schedules_on(world)
    _see_the_lineage(world)
    _break_a_check(world)


def _wait_for_alerts_to_watch(world: World) -> None:
    """An alert's first look only notes where it begins."""
    world.open("/automation")
    world.server.wait(
        world.page,
        ALERT_TICKS,
        "data => data.sensorOrError.sensorState.ticks.some(tick => tick.skipReason === 'Watching from now on.')",
    )


def _backfill_from_the_asset_page(world: World, first: date, last: date) -> None:
    runs = backfill_from_the_asset_page(world.server, world.page, first, last)
    assert [run["status"] for run in runs] == ["SUCCESS", "SUCCESS"]
    # Once per embed, not once per day.
    assert set(world.simulator.simulation.requests.events_by_embed.values()) == {1}


def _see_every_partition_filled(world: World, first: date, last: date) -> None:
    for path in (["raw", "embed_events"], ["lake", "embed_events"], ["lake", "validation_errors"]):
        node = world.server.ask(PARTITIONS, path=path)["assetNodeOrError"]
        ranges = node["assetPartitionStatuses"]["ranges"]
        assert [(each["status"], each["startKey"], each["endKey"]) for each in ranges] == [
            ("MATERIALIZED", str(first), str(last))
        ]
    page = world.open("/assets/lake/embed_events?view=partitions")
    _see(page, f"Materialized ({BACKFILL_DAYS})")


def _see_a_partition_with_its_chart(world: World, last: date) -> None:
    page = world.open(f"/assets/lake/embed_events?view=partitions&partition={last}")
    _see(page, "dagster/partition_row_count")
    page.get_by_text("Show Markdown").first.click()
    image = page.locator(".bp5-dialog img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.naturalWidth") > 500
    _screenshot(page, "partition")


def _see_a_table_with_schema_rows_and_checks(world: World) -> None:
    page = world.open("/assets/warehouse/fct_embed_funnel_daily")
    _see(page, "sessions in the cohort; the same in each of its rows; not null", exact=True)
    _see(page, "BIGINT")
    rows = world.server.ask(
        """{ assetOrError(assetKey: {path: ["warehouse", "fct_embed_funnel_daily"]}) { ... on Asset {
            assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
    )["assetOrError"]["assetMaterializations"][0]["metadataEntries"]
    (row_count,) = [entry["intValue"] for entry in rows if entry["label"] == "dagster/row_count"]
    assert row_count > 0
    _see(page, "Row count", exact=True)
    _see(page, f"{row_count:,}", exact=True)
    for check in load_checks():
        if check.table == "fct_embed_funnel_daily":
            page = world.open(f"/assets/warehouse/{check.table}?view=checks&checkDetail={check.name}")
            # What stands between backticks is shown as code.
            _see(page, check.description.replace("`", "")[:30])
            _see(page, "Passed")


def _see_the_page_and_what_the_run_did(world: World) -> None:
    page = world.open("/assets/report")
    _see(page, str(world.home.report), exact=True)
    page.get_by_text("Show Markdown").first.click()
    image = page.locator(".bp5-dialog img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.naturalWidth") > 500
    (run,) = [run for run in world.server.ask(RUNS)["runsOrError"]["results"] if run["jobName"] == "flatten"]
    page = world.open(f"/runs/{run['runId']}")
    _see(page, f"published {world.home.warehouse}, page {world.home.report}, ")


def _see_the_names_whole(world: World) -> None:
    page, size = world.page, world.page.viewport_size
    assert size is not None
    # The catalog draws what is in view alone.
    page.set_viewport_size({"width": size["width"], "height": 3 * size["height"]})
    world.open("/assets")
    for model in load_models():
        _see(page, f"warehouse / {model.name}", exact=True)
    page.set_viewport_size(size)


def _see_the_schedules_on(world: World) -> None:
    page = world.open("/automation")
    for name in AUTOMATIONS:
        _see(page, name, exact=True)
    state = world.server.ask(
        '{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", '
        'repositoryLocationName: "embed_analytics"}) { ... on Schedules { results { name '
        "scheduleState { status } } } } }"
    )["schedulesOrError"]["results"]
    assert {each["scheduleState"]["status"] for each in state} == {"RUNNING"}
    expect(page.locator("input[type=checkbox]:checked")).to_have_count(len(AUTOMATIONS))


def _see_the_lineage(world: World) -> None:
    # Of an asset with few neighbours: the graph of many is drawn too small to say more than their names.
    page = world.open("/assets/warehouse/rpt_stuck_embeds?view=lineage")
    for name in ("fct_embeds", "rpt_customers"):
        _see(page, name, exact=True)
    _see(page, "Materialized")
    expect(page.get_by_text("Loading...")).to_have_count(0)
    _screenshot(page, "lineage")


def _break_a_check(world: World) -> None:
    lose_an_event(world.home)
    before = _digest(world.home.warehouse)
    asked = world.simulator.simulation.requests.total
    page = world.open("/assets/warehouse/fct_embeds")
    page.get_by_role("button", name="Materialize").first.click()
    # The UI says that the other tables are built with it.
    page.locator(".bp5-dialog").get_by_role("button", name="Confirm").click()
    runs = world.server.wait(
        page, RUNS, f"data => data.runsOrError.results.length >= 3 && ({ALL_DONE})(data)", seconds=240
    )["runsOrError"]["results"]
    assert [run["status"] for run in runs] == ["FAILURE", "SUCCESS", "SUCCESS"]
    page = world.open(f"/runs/{runs[0]['runId']}")
    _see(page, "The warehouse was not published")
    page = world.open("/assets/warehouse/stg_lake_days?view=checks&checkDetail=deliveries_reconcile")
    _see(page, "Failed")
    _see(page, "failing_rows")
    _screenshot(page, "check")
    assert _digest(world.home.warehouse) == before
    assert world.simulator.simulation.requests.total == asked
    _receive_one_alert(world, runs[0]["runId"])


def _receive_one_alert(world: World, run_id: str) -> None:
    # The run has ended. A look from here on that finds nothing new follows the one that told of it, whose message may
    # tell of warnings and stuck sessions, too.
    since = time.time()
    world.server.wait(
        world.page,
        ALERT_TICKS,
        "data => data.sensorOrError.sensorState.ticks.some("
        f"tick => tick.timestamp > {since} && tick.skipReason === 'Nothing new.')",
        seconds=120,
    )
    told = [message for message in world.alerts.messages if run_id in message]
    assert len(told) == 1
    assert "Run failed" in told[0]
    assert "stg_lake_days: deliveries_reconcile" in told[0]
    everything = "\n".join(world.alerts.messages)
    assert world.simulator.api_key not in everything
    assert "secret-path" not in everything


def _see(page: Page, text: str, *, exact: bool = False) -> None:
    """Dagster keeps hidden copies of texts, to measure them."""
    expect(page.get_by_text(text, exact=exact).filter(visible=True).first).to_be_visible()


def _screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("UI_SCREENSHOTS"):
        # What is loaded later moves what is there: the picture waits for the network to rest.
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(folder) / f"dagster-{name}.png")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _today() -> date:
    return datetime.now(UTC).date()
