"""What happens to files on a disk: each function changes one file in place, as a fault would."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

Damaging = Callable[[Path, Random], None]


def _missing(path: Path, _: Random) -> None:
    path.unlink()


def _empty(path: Path, _: Random) -> None:
    _write(path, b"")


def _cut(path: Path, chance: Random) -> None:
    content = path.read_bytes()
    _write(path, content[: chance.randrange(1, len(content))])


def _zeroed(path: Path, _: Random) -> None:
    _write(path, bytes(path.stat().st_size))


def flip(path: Path, chance: Random) -> None:
    """One bit anywhere."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    _write(path, bytes(content))


def flip_unseen(path: Path, chance: Random) -> None:
    """One bit anywhere, with nothing in the file's dates that tells of it: what a disk does by itself."""
    about = path.stat()
    flip(path, chance)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def _write(path: Path, content: bytes) -> None:
    """Into the same inode."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


DAMAGES: dict[str, Damaging] = {"missing": _missing, "empty": _empty, "cut": _cut, "zeroed": _zeroed, "flipped": flip}
