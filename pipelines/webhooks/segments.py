"""The journal's files, as both sides see them: the receiver that appends, and the refresh that lands and removes.

A segment belongs to the process that holds an operating-system lock on it, and the lock dies with its process. So a
segment that can be locked is finished, whether its receiver rotated it, stopped or was killed. Only then is it removed.
A segment that cannot be locked is being written. It is read as far as it goes, and again later: only news is landed.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from pipelines.home.files import fsync, make_folder

SUFFIX = ".journal"
# A disk without room for this would refuse some events, or all of them.
PROBE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class SegmentSize:
    """A segment that holds something. `started_at` is naive UTC."""

    name: str
    size_bytes: int
    started_at: datetime


def create_segment(folder: Path) -> tuple[Path, int]:
    """Make a new empty segment, locked and durable. Returns its path and a descriptor for appending. Raises OSError."""
    make_folder(folder)
    while True:
        path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-webhook-{token_hex(2)}{SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            # A refresh may have locked it in between, and removed it because it was empty.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                fsync(folder)
                return path, descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def write_whole(descriptor: int, content: bytes) -> None:
    """Write all of `content`, in as many writes as it takes. Raises OSError, possibly after writing a part."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def write_probe(folder: Path) -> None:
    """Write as much as the largest event into the folder, durably, and remove it. Raises OSError when that fails."""
    path = folder / f".probe-{token_hex(4)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_whole(descriptor, bytes(PROBE_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()


def segment_sizes(folder: Path) -> list[SegmentSize]:
    """The segments that are not empty, oldest first."""
    found: list[SegmentSize] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            # A refresh has landed and removed it meanwhile.
            continue
        if size:
            found.append(SegmentSize(path.name, size, began_at(path)))
    return found


def began_at(path: Path) -> datetime:
    """When a segment was begun (naive UTC): from its name; of a file that a person named, when it was last written."""
    try:
        return datetime.strptime(path.name.partition("-")[0], "%Y%m%dT%H%M%S%f")
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)


class SegmentError(Exception):
    """A segment cannot be read: the disk failed, or the path is a folder."""


class Segment:
    """One segment, open for reading, and locked if its writer has finished. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = b""
        """What follows the last line feed. It is known once `lines` has been read to the end."""
        self.is_damaged = False
        """True when a part of it cannot be read. It is kept then: a person may still find something in it."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_finished = True
        except BlockingIOError:
            self.is_finished = False

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def started_at(self) -> datetime:
        """When its receiver began it (naive UTC)."""
        return began_at(self.path)

    def lines(self) -> Iterator[bytes]:
        """The whole lines. What follows the last line feed was never acknowledged: its writer was killed, or is still
        writing it. Raises SegmentError."""
        for line in self._read():
            if line.endswith(b"\n"):
                yield line
            else:
                self.unfinished = line

    def _read(self) -> Iterator[bytes]:
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                while line := file.readline():
                    yield line
        except OSError as error:
            raise SegmentError(error.strerror) from error

    @property
    def may_be_removed(self) -> bool:
        """One that is being written stays, and so does a damaged one."""
        return self.is_finished and not self.is_damaged

    @property
    def byte_count(self) -> int:
        return os.fstat(self._descriptor).st_size

    def remove(self) -> None:
        """Remove a segment that may be removed."""
        self.path.unlink()

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self._descriptor)
