"""The files that links name: their paths below the home, and their digests."""

import hashlib
from pathlib import Path, PurePosixPath

from pipelines.home.layout import Home


def relative(home: Home, path: Path) -> str:
    """A path as links write it: below the home, with slashes."""
    return path.relative_to(home.root).as_posix()


def is_in_raw(path: str) -> bool:
    """Whether a path stays below raw, and outside the chain. Text from a file is not trusted."""
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] == "raw" and ".." not in parts and parts[1] != "chain" and "\0" not in path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
