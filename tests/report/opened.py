"""A page that is open in a browser, and the warehouse that it was made of."""

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.report.account import DATA_THROUGH
from tests.warehouse.answers import published_rows
from tests.warehouse.lake import Lake


class Opened:
    """The page of a lake's warehouse, opened an hour after its data. `requests`: what it asked for."""

    def __init__(self, lake: Lake, context: BrowserContext, path: Path) -> None:
        self.lake = lake
        self.path = path
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.open()

    def open(self, address: str = "", *, hours: float = 1) -> Page:
        self.page.clock.set_fixed_time(DATA_THROUGH.replace(tzinfo=UTC) + timedelta(hours=hours))
        self.page.goto("about:blank")
        self.page.goto(f"{self.path.as_uri()}{address}")
        return self.wait()

    def wait(self) -> Page:
        """Until what is chosen is drawn."""
        self.page.wait_for_function("document.body.dataset.drawn === location.hash")
        return self.page

    def choose(self, **names: str) -> Page:
        self.page.evaluate("delete document.body.dataset.drawn")
        for select, label in names.items():
            self.page.locator(f"#{select}").select_option(label=label)
        return self.wait()

    def told(self) -> dict[tuple[str, str | None], str]:
        """Every number that the page marks as one, by metric and period."""
        marked = self.page.eval_on_selector_all(
            "[data-metric]",
            "found => found.map(one => [one.dataset.metric, one.dataset.period ?? null, one.dataset.value])",
        )
        return {(metric, period): value for metric, period, value in marked}

    def ask(self, sql: str) -> list[dict[str, Any]]:
        return published_rows(self.lake.home, sql)
