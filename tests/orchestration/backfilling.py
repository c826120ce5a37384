"""What several tests do in the UI, and what they ask of it afterwards."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from typing import Any

from playwright.sync_api import Page, Playwright, expect

from tests.chromium import launched
from tests.orchestration.dev_server import DevServer

RUNS = "{ runsOrError { ... on Runs { results { runId jobName status } } } }"
ALL_DONE = "data => data.runsOrError.results.every(run => ['SUCCESS', 'FAILURE', 'CANCELED'].includes(run.status))"

PARTITIONS = """
query ($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode { assetPartitionStatuses {
    ... on TimePartitionStatuses { ranges { status startKey endKey } }
  } } }
}
"""


@contextmanager
def opened_browser(playwright: Playwright) -> Generator[Page]:
    """A page in Debian's chromium, wide enough for Dagster."""
    browser = launched(playwright)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield page
    browser.close()


def backfill_from_the_asset_page(server: DevServer, page: Page, first: date, last: date) -> list[dict[str, Any]]:
    """Ask for dates of raw/embed_events and wait for the runs that follow. Returns all runs, the latest first."""
    page.goto(f"{server.url}/assets/raw/embed_events?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.locator(".bp5-dialog")
    selection = dialog.locator("input[placeholder]").first
    selection.fill(f"[{first}...{last}]")
    selection.press("Enter")
    expect(dialog.get_by_text(f"{(last - first).days + 1} partitions").first).to_be_visible()
    dialog.get_by_role("button", name="Launch backfill").click()
    return server.wait(
        page,
        RUNS,
        f"data => data.runsOrError.results.some(run => run.jobName === 'flatten') && ({ALL_DONE})(data)",
        seconds=240,
    )["runsOrError"]["results"]
