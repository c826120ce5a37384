"""The writing side of the journal: one fsync for all events that arrived while the last fsync was under way.

An event's future is done only when its line is on disk. Waiting lines are bounded in number, in bytes and in the time
that the disk may take. Beyond these bounds, and after a disk error, an event is refused, so that the vendor sends it
again. How many were refused is written as well, within a minute, or once the disk takes it.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.keys.key_store import KeysUnavailableError
from pipelines.webhooks.records import Refusal, encode_refusal
from pipelines.webhooks.segments import create_segment, write_whole

_HOUR_SECONDS = 3600


class JournalRefusedError(Exception):
    """The event was not stored and should be sent again. `reason` is `overloaded` or `disk`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class JournalLimits:
    """How much may wait, when to close a segment so that a refresh can remove it, and how long to count refusals before
    they are written: a kill loses no more than that."""

    waiting_count: int = 10_000
    waiting_bytes: int = 32 * 1024 * 1024
    stall_seconds: float = 5.0
    segment_bytes: int = 64 * 1024 * 1024
    segment_seconds: float = 60.0
    refusal_seconds: float = 60.0


@dataclass
class _Batch:
    lines: list[bytes] = field(default_factory=list[bytes])
    futures: list[asyncio.Future[None]] = field(default_factory=list[asyncio.Future[None]])
    byte_count: int = 0
    refusals: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])

    @property
    def content(self) -> bytes:
        refused = (
            encode_refusal(Refusal(reason, count), hour * _HOUR_SECONDS * 1_000_000)
            for (hour, reason), count in sorted(self.refusals.items())
        )
        return b"".join([*self.lines, *refused])


class Journal:
    """Appends lines durably. `append` and `start` run in the event loop; only the writer's thread touches the file.

    `on_commit(line_count, seconds)` is called in that thread after each fsync, `before_write()` before each write: what
    the lines rely on has to be on the disk before them. If it raises OSError or KeysUnavailableError, they are refused.
    """

    def __init__(
        self,
        folder: Path,
        limits: JournalLimits,
        on_commit: Callable[[int, float], None],
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self._limits = limits
        self._on_commit = on_commit
        self._before_write = before_write
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting = _Batch()
        self._writing = _Batch()
        self._writing_since: float | None = None
        # Refused events that are not on disk yet, by the hour since 1970 and the reason: few, however many there are.
        self._refusals = Counter[tuple[int, str]]()
        self._refused_since = 0.0
        self._is_open = False
        # False once the writer's thread has died: nothing can be stored any more.
        self.is_sound = True
        self._thread = threading.Thread(target=self._write_batches, name="webhook-journal", daemon=True)
        # The present segment. Only the writer's thread touches it.
        self._path = folder
        self._descriptor: int | None = None
        self._durable_bytes = 0
        self._started_at = 0.0

    @property
    def waiting_count(self) -> int:
        """Lines that are not on disk yet."""
        return len(self._waiting.lines) + len(self._writing.lines)

    def start(self) -> None:
        """Start writing. Raises OSError when no segment can be made."""
        self._loop = asyncio.get_running_loop()
        self._open_segment()
        self._is_open = True
        self._thread.start()

    async def append(self, line: bytes) -> None:
        """Returns when the line is on disk. Raises JournalRefusedError if it cannot be stored."""
        limits = self._limits
        # This runs for every event, and taking the lock directly is faster than through the condition.
        with self._lock:
            waiting, since = self._waiting, self._writing_since
            if (
                not self._is_open
                or len(waiting.lines) >= limits.waiting_count
                or waiting.byte_count + len(line) > limits.waiting_bytes
                or (since is not None and time.monotonic() - since > limits.stall_seconds)
            ):
                raise JournalRefusedError("overloaded")
            stored: asyncio.Future[None] = self._loop.create_future()
            waiting.lines.append(line)
            waiting.futures.append(stored)
            waiting.byte_count += len(line)
            if since is None and len(waiting.lines) == 1:
                self._changed.notify()
        await stored

    def refused(self, reason: str) -> None:
        """Count an event that was refused. What is counted is written later, and nobody waits for it."""
        with self._lock:
            if not self._refusals:
                self._refused_since = time.monotonic()
                self._changed.notify()
            self._refusals[int(time.time()) // _HOUR_SECONDS, reason] += 1

    async def close(self) -> None:
        """Accept nothing more, write what is waiting, and end."""
        with self._changed:
            self._is_open = False
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    # The writer's thread

    def _write_batches(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                error = self._store(batch)
                self._loop.call_soon_threadsafe(_settle, batch.futures, error)
                if error is None and self._is_segment_full():
                    self._close_segment()
        finally:
            # Even if a bug of ours ends this thread, every waiting caller is told, and none waits forever.
            with self._changed:
                self.is_sound = not self._is_open
                self._is_open = False
                left = self._writing.futures + self._waiting.futures
            self._loop.call_soon_threadsafe(_settle, left, JournalRefusedError("disk"))
            self._close_segment()

    def _next_batch(self) -> _Batch | None:
        with self._changed:
            self._writing, self._writing_since = _Batch(), None
            while not self._waiting.lines and self._seconds_to_refusals() != 0:
                if not self._is_open:
                    return None
                waits = [self._seconds_to_rotation(), self._seconds_to_refusals()]
                self._changed.wait(min((wait for wait in waits if wait is not None), default=None))
                if self._seconds_to_rotation() == 0:
                    self._close_segment()
            self._writing, self._waiting = self._waiting, _Batch()
            if self._seconds_to_refusals() == 0:
                self._writing.refusals, self._refusals = self._refusals, self._writing.refusals
            self._writing_since = time.monotonic()
            return self._writing

    def _store(self, batch: _Batch) -> JournalRefusedError | None:
        try:
            self._before_write()
        except (OSError, KeysUnavailableError):
            return JournalRefusedError("disk")
        try:
            descriptor = self._open_segment() if self._descriptor is None else self._descriptor
            content = batch.content
            write_whole(descriptor, content)
            began = time.perf_counter()
            os.fsync(descriptor)
            self._on_commit(len(batch.lines), time.perf_counter() - began)
            self._durable_bytes += len(content)
        except OSError:
            # After a failed fsync it is not known what is on disk, so this segment ends at its last durable byte.
            self._abandon_segment()
            self._keep(batch.refusals)
            return JournalRefusedError("disk")
        return None

    def _keep(self, refusals: Counter[tuple[int, str]]) -> None:
        """Try again later to write these, unless this process is ending."""
        with self._lock:
            if refusals and self._is_open:
                self._refusals.update(refusals)
                self._refused_since = time.monotonic()

    def _open_segment(self) -> int:
        self._path, self._descriptor = create_segment(self.folder)
        self._durable_bytes = 0
        self._started_at = time.monotonic()
        return self._descriptor

    def _abandon_segment(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._durable_bytes)
        self._close_segment()

    def _close_segment(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                # It holds nothing that was acknowledged. A full disk must not leave a file for every attempt.
                if not self._durable_bytes:
                    self._path.unlink()
            # A network file system may report a failed write only here, but the fsync before has succeeded.
            with suppress(OSError):
                os.close(descriptor)

    def _is_segment_full(self) -> bool:
        age = time.monotonic() - self._started_at
        return self._durable_bytes >= self._limits.segment_bytes or age >= self._limits.segment_seconds

    def _seconds_to_rotation(self) -> float | None:
        """How long an idle writer may wait before it must close its segment, if that holds anything."""
        if self._descriptor is None or not self._durable_bytes:
            return None
        return max(self._started_at + self._limits.segment_seconds - time.monotonic(), 0.0)

    def _seconds_to_refusals(self) -> float | None:
        """How long the writer may wait before it must write how many events were refused. None: there are none."""
        if not self._refusals:
            return None
        if not self._is_open:
            return 0.0
        return max(self._refused_since + self._limits.refusal_seconds - time.monotonic(), 0.0)


def _settle(futures: list[asyncio.Future[None]], error: JournalRefusedError | None) -> None:
    for future in futures:
        if future.done():
            # The request was cancelled.
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
