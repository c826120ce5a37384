"""Writing files that are either there whole or not there: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Readers glob `*.parquet` and pass over these.
TEMPORARY_PREFIX = ".tmp-"


def write_parquet(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write `frame` to `path`, replacing what is there; a reader sees the old file or the new one, never a part."""
    temporary = write_temporary_parquet(frame, path, metadata)
    temporary.replace(path)
    fsync_folder(path.parent)


def write_temporary_parquet(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write `frame` beside `path` under a temporary name, on disk when this returns; the caller renames it."""
    make_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    frame.write_parquet(temporary, compression="zstd", compression_level=1, metadata=dict(metadata or {}))
    _fsync(temporary)
    return temporary


def write_text(text: str, path: Path) -> None:
    """Write a small text file likewise."""
    make_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    temporary.write_text(text, encoding="utf-8")
    _fsync(temporary)
    temporary.replace(path)
    fsync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, durable: a new one can go with the power, and the files in it likewise."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename alone can be lost with the power."""
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
