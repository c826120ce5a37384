"""Sets damaged Dagster databases aside under another name, so that Dagster makes new ones.

They hold the history of runs and the states of schedules, but none of the pipeline's data. A damaged one is never
deleted, and never moved while a process has it open.

Each run has a database of its own, so looking at all of them would cost more with every run. Only those are looked at
that something wrote to, replaced or moved since the last look that found all of them whole.
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

# An empty file in the instance's folder.
_LAST_LOOK = "databases-last-looked-at"

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def set_damaged_aside(dagster: Path, say: Callable[[str], None]) -> None:
    """Rename each damaged database below the instance's folder. `say` gets a line about each.

    Raises ConfigurationError if another process has it open.
    """
    beginning = dagster / f"{_LAST_LOOK}.part"
    beginning.touch()
    for path in _changed(dagster):
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
            beside = _beside(path, suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        say(
            f"{path} is damaged ({reason}). It is kept as {aside.name}, and Dagster begins a new one: past runs may be "
            "missing in its UI, and no data is."
        )
    beginning.replace(dagster / _LAST_LOOK)


def _changed(dagster: Path) -> list[Path]:
    """The databases that are not, in every part, as they were at the last look."""
    try:
        # A rename leaves this time alone: it is when the look began, by the clock of the file system.
        since = (dagster / _LAST_LOOK).stat().st_mtime_ns
    except FileNotFoundError:
        since = 0
    return [
        path
        for path in sorted(dagster.rglob("*.db"))
        # The time of the last change of anything: no copying tool sets it back.
        if any(part.stat().st_ctime_ns >= since for part in (path, _beside(path, "-wal")) if part.exists())
    ]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


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
