"""Reports a full disk as one error that names the folder, whichever library meets it.

DuckDB, SQLite, Polars and SQLAlchemy each raise their own error, and some give no error number. But each message has
the system's words, or SQLite's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import TransientError
from pipelines.home.layout import Home

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TEXTS = (*(os.strerror(number) for number in sorted(_NUMBERS)), "database or disk is full")

# SQLite's message about its log, and Polars' about a Parquet file's footer. They may have other causes, so the disk is
# full only if it has less room than this.
_VAGUE_TEXTS = ("disk I/O error", "transport error")
_ROOM = 2**20


class DiskFullError(TransientError):
    """There is no room for what had to be written. Nothing half-written is left."""


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or its cause, says that the disk is full, or a quota or a file-size limit is reached."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if isinstance(error, Exception) and any(text in str(error) for text in _TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def full_disk_named(home: Home) -> Generator[None]:
    """Raise DiskFullError in place of an error that a full disk caused."""
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not (is_full_disk(error) or _is_hidden(error, home)):
            raise
        raise DiskFullError(
            f"The disk of {_fullest(home)} is full. Make room there and run again: nothing is lost, and nothing "
            "half-written was left."
        ) from error


def _is_hidden(error: Exception, home: Home) -> bool:
    """Whether the disk is full when a library's message only says that writing failed."""
    return any(text in str(error) for text in _VAGUE_TEXTS) and _free_bytes(_fullest(home)) < _ROOM


def _fullest(home: Home) -> Path:
    """The home, or its folder on another disk that has less room."""
    folders = [home.root, home.root / "raw", home.lake, home.quarantine, home.state, home.dagster]
    return min(filter(Path.is_dir, folders), key=_free_bytes, default=home.root)


def _free_bytes(folder: Path) -> int:
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize
