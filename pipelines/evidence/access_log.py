"""Who used which command on evidence, when and why: links of kind `access` in the chain.

The link holds a digest of the details alone. They lie beside the chain, in a file that is named by this digest: an
evidence pack carries the lines of others' links, and must not tell who asked about whom. A salt keeps the digest from
being guessed. So the details can be erased, and the chain stays as it is.
"""

import getpass
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

from pipelines.chain import chain
from pipelines.chain.links import Head
from pipelines.errors import PermanentError
from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.home.ownership import writer_lock
from pipelines.raw.landing import raw_files

_SALT_BYTES = 16


def note_access(
    home: Home, command: str, reason: str | None, about: dict[str, Any], on_wait: Callable[[str], None]
) -> Head:
    """Append a link that commits to who (the user of the operating system) used `command`, why, and about what.

    Waits for the home's writer lock. Returns the chain's new head, whose last link but signatures is this one. Raises
    PermanentError where raw has files and no chain yet: the chain begins with them.
    """
    said = {name: _utf8(value) if isinstance(value, str) else value for name, value in about.items()}
    details = {"about": said, "command": command, "reason": reason and _utf8(reason), "user": getpass.getuser()}
    text = json.dumps({**details, "salt": token_hex(_SALT_BYTES)}, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with writer_lock(home, on_wait):
        if not chain.has_links(home) and raw_files(home):
            raise PermanentError(f"{home.root} has no chain yet: `embed-analytics publish` begins it.")
        # Before the link: a file that no link names tells nothing, and a link without its details would be a loss.
        write_text(text, details_file(home, digest), is_private=True)
        return chain.append(home, [("access", {"details": digest})])


def _utf8(text: str) -> str:
    """The text, with escapes for what a terminal or a path gave that is not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def details_file(home: Home, digest: str) -> Path:
    """Where the details with this SHA-256 (hex) are, JSON of about, command, reason, user and salt."""
    return home.raw_access / f"{digest}.json"
