"""What a link says of a file of raw."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.chain import merkle
from pipelines.chain.linked_paths import relative, sha256_of
from pipelines.chain.row_texts import row_texts
from pipelines.home.layout import Home
from pipelines.home.sealed import find_damage

# Rows are hashed in parts, which bounds memory and keeps to the caches of the processor.
_ROWS_AT_A_TIME = 10_000


def roots_of(frames: Sequence[pl.DataFrame]) -> list[str]:
    """The root (hex) of the Merkle tree over the texts of each frame's rows, in their order.

    The frames have the same columns: the texts of all of them are made together.
    """
    leaves = iter(
        [leaf for part in pl.concat(frames).iter_slices(_ROWS_AT_A_TIME) for leaf in merkle.leaves(row_texts(part))]
    )
    return [merkle.root(list(islice(leaves, frame.height))).hex() for frame in frames]


def file_facts(home: Home, path: Path, written: Path, rows: int | None, root: str | None) -> dict[str, Any]:
    """The facts about a file that will be `path`, with its rows and their root. Its bytes lie at `written` now."""
    return {
        "path": relative(home, path),
        "rows": rows,
        "root": root,
        "bytes": written.stat().st_size,
        "sha256": sha256_of(written),
    }


def facts_of_file(home: Home, path: Path) -> dict[str, Any]:
    """The same of a file that is there; rows and root are None where it cannot be read whole."""
    rows, root = None, None
    if find_damage(path) is None:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
        rows, (root,) = frame.height, roots_of([frame])
    return file_facts(home, path, path, rows, root)
