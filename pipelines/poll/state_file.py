"""Finds out whether `state/poll.sqlite` is as the last sweep left it, and sets it aside if not.

SQLite finds damage only in what it reads, and never in a value. So a note of the file is made when it is closed, and a
file that something else has written to since is not trusted. After a kill there is no note, and in a copied home the
note is of another file. Then SQLite checks the whole file.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pipelines.home.files import file_state, fsync, write_text
from pipelines.home.layout import Home
from pipelines.home.sealed import Damage

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def says_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file's content is wrong, rather than that it is locked or the disk is full."""
    return _code(error) in _DAMAGED


def says_locked(error: sqlite3.Error) -> bool:
    return _code(error) in _LOCKED


def _code(error: sqlite3.Error) -> int:
    # The low byte is the kind, the rest which of it. An error of the module itself has none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def find_damage(home: Home) -> Damage | None:
    """What is wrong with the closed state. None if nothing is, or if there is no state yet.

    Raises sqlite3.OperationalError when it is locked or cannot be opened.
    """
    path = home.poll_state
    noted = _noted(home)
    if not path.exists():
        return Damage(path, "is missing") if noted is not None or any(home.raw_embed_events.glob("*/*")) else None
    state = file_state(path)
    if state == noted:
        return None
    if noted is not None and noted.partition("-")[0] == state.partition("-")[0]:
        return Damage(path, "is damaged: something else wrote to it")
    with closing(sqlite3.connect(path)) as connection:
        try:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if not says_damage(error):
                raise
            answer = str(error)
    return None if answer == "ok" else Damage(path, f"is damaged ({' '.join(answer.split())})")


def set_aside(home: Home) -> Path:
    """Rename the state and the files that SQLite keeps beside it. Returns the state's new path."""
    path = home.poll_state
    aside = path.with_name(f"poll.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.sqlite")
    for suffix in ("", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    _note(home).unlink(missing_ok=True)
    fsync(home.state)
    return aside


def note_open(home: Home) -> None:
    """Note that from here on the state may change at any moment."""
    if _note(home).exists():
        _note(home).unlink()
        # Without it, a power cut could bring back the note of an earlier state.
        fsync(home.state)


def note_closed(home: Home) -> None:
    """Note that the state is complete and that nothing has it open."""
    write_text(file_state(home.poll_state), _note(home))


def _note(home: Home) -> Path:
    return home.state / "poll.sqlite.closed"


def _noted(home: Home) -> str | None:
    try:
        return _note(home).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
