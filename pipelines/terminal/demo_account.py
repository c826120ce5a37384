"""The demo's simulated account: a simulator in a process of its own. Started again, it goes on as the same account."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.errors import ConfigurationError, HostUnreachableError

# Tells a demo's home from others, and holds its account.
MARKER = ".embed-analytics-demo"

# The account has sessions for so long after the demo was made.
_DAYS_AHEAD = 30


@dataclass(frozen=True)
class DemoAccount:
    """What makes the account: the same again for the same values. `now`: epoch seconds at which its history ends."""

    embeds: int
    days: int
    now: int

    @property
    def last_date(self) -> date:
        return datetime.fromtimestamp(self.now, UTC).date()

    @property
    def first_date(self) -> date:
        return self.last_date - timedelta(days=self.days)


@dataclass(frozen=True)
class RunningAccount:
    """The account while its API answers at `url`."""

    account: DemoAccount
    url: str
    api_key: str

    def settings(self, root: Path) -> dict[str, str]:
        """The settings of the demo's home, by their names in the environment."""
        return {
            "ONESCHEMA_API_URL": self.url,
            "ONESCHEMA_API_KEY": self.api_key,
            "ONESCHEMA_ENVIRONMENT": "Production",
            "EMBED_ANALYTICS_HOME": str(root),
            "EMBED_ANALYTICS_START_DATE": self.account.first_date.isoformat(),
            "EMBED_ANALYTICS_CUSTOMER_CLAIM": "org.name",
            "EMBED_ANALYTICS_CUSTOMER_ID_CLAIM": "org.id",
            "EMBED_ANALYTICS_PLAN_CLAIM": "org.Plan Name",
        }

    def incidents(self) -> list[dict[str, Any]]:
        """What happened to it, by date: `date` (YYYY-MM-DD), `text`, `template` (None: not of one template)."""
        return self._admin("GET", "incidents", None)

    def set_clock(self, now: float) -> None:
        self._admin("POST", "clock", {"now": now})

    def remember(self, root: Path) -> None:
        """Keep in the home what starts the account again: its address, too, since the home holds no other API's."""
        path = root / MARKER
        path.write_text(json.dumps({**asdict(self.account), "port": urlsplit(self.url).port}), encoding="utf-8")

    def _admin(self, method: str, path: str, body: object) -> Any:
        import httpx

        with httpx.Client(base_url=f"{self.url}/_simulator/", trust_env=False, timeout=60) as client:
            return client.request(method, path, json=body).raise_for_status().json()


def remembered(root: Path) -> tuple[DemoAccount, int]:
    """The account of a demo's home, and the port of its API. Raises ConfigurationError where there is none."""
    try:
        kept = json.loads((root / MARKER).read_text(encoding="utf-8"))
        port = kept.pop("port")
        return DemoAccount(**kept), port
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigurationError(
            f"{root} is not the home of a demo that was made whole: make it by `embed-analytics demo`."
        ) from None


@contextmanager
def running(account: DemoAccount, port: int = 0) -> Generator[RunningAccount]:
    """Run the account's API on a port of this machine (0: a free one) while the context lasts."""
    # A proxy would not find it.
    os.environ.update(dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1"))
    options = {
        "port": port,
        "embeds": account.embeds,
        "days": account.days,
        "days-ahead": _DAYS_AHEAD,
        "now": account.now,
        "history": "eventful",
        # By default the vendor's importer skips the header pane where it detects the header, and customisations have it
        # skip the mapping. No document says that an event comes then, so the demo shows an account in which none does.
        "panes": "skipped",
    }
    command = [sys.executable, "-m", "pipelines", "simulate"]
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        api_key = process.stdout.readline().rpartition(" ")[2].strip()
        if not url.startswith("http"):
            raise HostUnreachableError("The simulator did not start: see its message above.")
        yield RunningAccount(account, url, api_key)
    finally:
        process.terminate()
        process.wait()
