"""Debian's chromium, in which the UI and the page are tested."""

import shutil

from playwright.sync_api import Browser, Playwright

_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def launched(playwright: Playwright) -> Browser:
    """The browser, without a window."""
    executable = shutil.which("chromium")
    assert executable, "chromium is missing, and tests drive it: apt-get install chromium"
    return playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
