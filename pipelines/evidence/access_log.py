"""Who used which command on evidence, when and why: links of kind `access` in the chain."""

import getpass
from collections.abc import Callable
from typing import Any

from pipelines.chain import chain
from pipelines.chain.links import Head
from pipelines.home.layout import Home
from pipelines.home.ownership import writer_lock


def note_access(
    home: Home, command: str, reason: str | None, about: dict[str, Any], on_wait: Callable[[str], None]
) -> Head:
    """Append a link that says who (the user of the operating system) used `command`, why, and what it was about.

    `about` must not name a person: the chain is never rewritten. Waits for the home's writer lock. Returns the chain's
    new head.
    """
    with writer_lock(home, on_wait):
        facts = {"command": command, "user": getpass.getuser(), "reason": reason, **about}
        return chain.append(home, [("access", facts)])
