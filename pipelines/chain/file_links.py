"""What a link says of a file of raw."""

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.chain import merkle
from pipelines.chain.row_texts import row_texts
from pipelines.home.layout import Home
from pipelines.home.sealed import find_damage

# Rows are hashed in parts, so that a large file does not take a large memory.
_ROWS_AT_A_TIME = 50_000


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def root_of(frame: pl.DataFrame) -> str:
    """The root (hex) of the Merkle tree over the texts of a frame's rows, in their order."""
    leaves = [leaf for part in frame.iter_slices(_ROWS_AT_A_TIME) for leaf in merkle.leaves(row_texts(part))]
    return merkle.root(leaves).hex()


def relative(home: Home, path: Path) -> str:
    """A path as links write it: below the home, with slashes."""
    return path.relative_to(home.root).as_posix()


def file_facts(home: Home, path: Path, written: Path, frame: pl.DataFrame) -> dict[str, Any]:
    """The facts about a file that holds `frame` and will be `path`. Its bytes lie at `written` now."""
    return {
        "path": relative(home, path),
        "rows": frame.height,
        "root": root_of(frame),
        "bytes": written.stat().st_size,
        "sha256": sha256_of(written),
    }


def facts_of_file(home: Home, path: Path) -> dict[str, Any]:
    """The same of a file that is there; rows and root are None where it cannot be read whole."""
    if find_damage(path) is None:
        return file_facts(home, path, path, pl.read_parquet(path, glob=False, hive_partitioning=False))
    return {
        "path": relative(home, path),
        "rows": None,
        "root": None,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
    }
