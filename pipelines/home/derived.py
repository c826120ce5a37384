"""Keeps what follows from the code alone from one process to the next: what the files in sql/ say, tables' columns.

Every process would find the same, and finding it takes longer than all else that loading the definitions does. So it is
kept as JSON in the user's cache folder, under a name that changes with any file of pipelines/ or sql/ and with the
versions of Python and of the libraries that read them. A file that is damaged, or cannot be read or written, costs
nothing but the time to find it all again.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from pipelines.home.code_version import changed_at, code_version, present_digest
from pipelines.home.files import TEMPORARY_PREFIX

# The libraries that read SQL and name types. Another version may read or name them differently.
_READERS = ("sqlglot", "polars")

# How many states of the code are kept for each name: those of a few checkouts side by side, and what was before.
_KEPT = 8

# The code that runs was read from disk as the process began. What changed since then, or just before, it may not know.
_CODE_READ_AT = time.time() - 5

# A file is what it says, and nobody else's word.
_MODE = 0o600


def derived(name: str, find: Callable[[], Any]) -> Any:
    """What `find` answers, as JSON gives it back (tuples become lists); from the cache if it has it.

    `find` must depend on nothing but the files of pipelines/ and sql/.
    """
    path = _path(name)
    if path is None:
        return _as_json(find())
    with suppress(OSError, ValueError):
        return _read(path)
    before = present_digest()
    value = _as_json(find())
    # Kept only if it is what the present files say, in the words of the present code.
    if before == present_digest() == code_version().rpartition("+")[2] and changed_at() < _CODE_READ_AT:
        with suppress(OSError):
            _write(path, json.dumps(value))
    return value


def _path(name: str) -> Path | None:
    """The file of this state of the code. None for a user without a home."""
    try:
        return user_cache_path("embed-analytics", appauthor=False) / f"{name}-{_key()}.json"
    except RuntimeError:
        return None


@cache
def _key() -> str:
    readers = "".join(f" {reader} {version(reader)}" for reader in _READERS)
    return hashlib.sha256(f"{code_version()} {sys.version}{readers}".encode()).hexdigest()[:16]


def _read(path: Path) -> Any:
    """Raises OSError or ValueError where the file is missing, damaged or another user's."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise ValueError(f"{path} belongs to another user.")
        digest, _, text = file.read().partition(b"\n")
    if _digest(text) != digest:
        raise ValueError(f"{path} is damaged.")
    return json.loads(text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        # Not synced: a power cut costs a file that is made again.
        temporary.touch(_MODE)
        temporary.write_bytes(_digest(text.encode()) + b"\n" + text.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    name = path.name.rpartition("-")[0]
    kept = sorted(path.parent.glob(f"{name}-*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in kept[_KEPT:]:
        old.unlink(missing_ok=True)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
