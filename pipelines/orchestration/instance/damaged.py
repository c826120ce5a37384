"""Sets damaged Dagster databases aside under another name, so that Dagster makes new ones.

They hold the history of runs and the states of schedules, but none of the pipeline's data. A damaged one is never
deleted, and never moved while a process has it open.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import ConfigurationError

# Where SQLite's locks lie, in every file: one byte each for PENDING and RESERVED, then those of SHARED.
_LOCK_START, _LOCK_LENGTH = 0x40000000, 512

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def set_damaged_aside(dagster: Path, say: Callable[[str], None]) -> None:
    """Rename each damaged database below the instance's folder. `say` gets a line about each.

    Raises ConfigurationError if another process has it open.
    """
    for path in sorted(dagster.rglob("*.db")):
        reason = _damage(path)
        if reason is None:
            continue
        if _is_open_elsewhere(path):
            raise ConfigurationError(
                f"{path} is damaged ({reason}), and another process has it open: end that one (is `embed-analytics "
                "dev` at work?), and run this again."
            )
        aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        for suffix in ("", "-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        say(
            f"{path} is damaged ({reason}). It is kept as {aside.name}, and Dagster begins a new one: past runs may be "
            "missing in its UI, and no data is."
        )


def _damage(path: Path) -> str | None:
    try:
        # To SQLite, an empty file is a new database.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            # It is locked, or was removed meanwhile. Dagster will report that itself.
            return None
        answer = str(error)
    return None if answer == "ok" else " ".join(answer.split())


def _is_open_elsewhere(path: Path) -> bool:
    """Whether another process has the file open, as far as the system tells; or holds one of SQLite's locks on it."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_LENGTH, _LOCK_START)
        except OSError:
            return True
    real = os.path.realpath(path)
    others = (folder for folder in Path("/proc").glob("[0-9]*") if folder.name != str(os.getpid()))
    return any(real in _open_files(folder) for folder in others)


def _open_files(process: Path) -> set[str]:
    """The files that a process of Linux has open: none where it has ended, or is another user's."""
    found: set[str] = set()
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found
