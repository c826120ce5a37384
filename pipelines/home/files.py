"""Writes files whole or not at all: temporary name, fsync, rename, fsync of the folder.

A file that could not be written whole is removed: halves of files would keep a full disk full.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.home.permissions import share_as_folder
from pipelines.home.sealed import seal

if TYPE_CHECKING:
    import polars as pl

# Readers glob `*.parquet`, which skips names that begin with a dot.
TEMPORARY_PREFIX = ".tmp-"

# Where a Parquet file keeps the types that Arrow's readers give its columns. Without it they go by Parquet's own.
_ARROW_SCHEMA = "ARROW:schema"


def write_parquet(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write `frame` to `path`, replacing what is there. A reader sees the old file or the new one, never a part."""
    put_in_place(write_temporary_parquet(frame, path, metadata), path)


def write_temporary_parquet(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write `frame` beside `path` under a temporary name, sealed and durably. `put_in_place` renames it.

    Readers find strings where `frame` has categories: the file is that of a frame of strings. Texts that repeat are
    written as a dictionary either way, and categories are one already. Of strings Polars first has to hash every row.
    """
    temporary = _temporary(path)
    metadata = {**(metadata or {}), **_as_strings(frame)}
    with _removed_if_it_fails(temporary):
        frame.write_parquet(temporary, compression="zstd", compression_level=1, metadata=metadata)
        seal(temporary)
        share_as_folder(temporary)
        fsync(temporary)
    return temporary


def _as_strings(frame: pl.DataFrame) -> dict[str, str]:
    """The metadata by which readers take categories for strings; none where the frame has no categories."""
    import polars as pl

    schema = {name: pl.String() if isinstance(type_, pl.Categorical) else type_ for name, type_ in frame.schema.items()}
    if schema == frame.schema:
        return {}
    empty = io.BytesIO()
    pl.DataFrame(schema=schema).write_parquet(empty)
    empty.seek(0)
    return {_ARROW_SCHEMA: pl.read_parquet_metadata(empty)[_ARROW_SCHEMA]}


def write_text(text: str, path: Path, *, is_private: bool = False) -> None:
    """Write a text file in the same way. `is_private`: its mode is 0600, whatever the umask and the folder allow."""
    write_bytes(text.encode("utf-8"), path, is_private=is_private)


def write_bytes(content: bytes, path: Path, *, is_private: bool = False) -> None:
    """The same for bytes."""
    temporary = _temporary(path)
    with _removed_if_it_fails(temporary):
        if is_private:
            # Before it holds anything: a file that was open for a moment stays open for who opened it then.
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600, exist_ok=False)
            temporary.chmod(0o600)
        temporary.write_bytes(content)
        fsync(temporary)
    put_in_place(temporary, path)


def put_in_place(complete: Path, path: Path) -> None:
    """Rename a complete, durable file to `path` in the same folder. The rename is durable when this returns."""
    complete.replace(path)
    fsync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably. A power cut can undo a new folder and with it the files in it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        share_as_folder(folder)
        fsync(folder.parent)


def file_state(path: Path | str) -> str:
    """What tells a file from one put in its place, and from itself once something wrote to it. "-": it is missing."""
    try:
        about = os.stat(path)  # noqa: PTH116 - a Path of many parts costs more than the question
    except FileNotFoundError:
        return "-"
    return f"{about.st_ino}-{about.st_mtime_ns}-{about.st_size}"


def fsync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable. Without it, a power cut can undo a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _removed_if_it_fails(temporary: Path) -> Generator[None]:
    try:
        yield
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    make_folder(path.parent)
    return path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
