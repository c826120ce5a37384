"""Whether `state/poll.sqlite` is as the last sweep left it, and putting it out of the way where it is not.

SQLite finds damage where it reads it, and not in a value. So the state is noted when it is closed: a file that
something else wrote to since is not believed. After a kill there is no such note, and in a copied home it is of another
file: then SQLite looks through the whole file.
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
    """Whether SQLite says that the file's content is wrong, rather than that the file is locked, or the disk full."""
    return _code(error) in _DAMAGED


def says_locked(error: sqlite3.Error) -> bool:
    return _code(error) in _LOCKED


def _code(error: sqlite3.Error) -> int:
    # The low byte is the kind, the rest which of it. An error of the module itself has none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def find_damage(home: Home) -> Damage | None:
    """What is wrong with the closed state; None when nothing is, or where there is none yet.

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
    """Give the state and what SQLite keeps beside it other names; returns the state's."""
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
    """From here on the state may change at any moment."""
    if _note(home).exists():
        _note(home).unlink()
        # Else the power could bring back a note of what was before.
        fsync(home.state)


def note_closed(home: Home) -> None:
    """The state is whole, and nothing has it open."""
    write_text(file_state(home.poll_state), _note(home))


def _note(home: Home) -> Path:
    return home.state / "poll.sqlite.closed"


def _noted(home: Home) -> str | None:
    try:
        return _note(home).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
