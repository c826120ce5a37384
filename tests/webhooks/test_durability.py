"""What is left when the power goes: only what was fsynced, and only under names that were."""

import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from pipelines.home.layout import Home
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.opening import open_state
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.webhooks.ingest import ingest_journal
from pipelines.webhooks.journal import JournalLimits
from tests.webhooks.receiving import (
    RunningReceiver,
    full_events,
    ingest,
    journal_files,
    landed_uuids,
    running_receiver,
    until,
)


class Disk:
    """Sees every fsync of this process, and knows what would be there after a power cut."""

    def __init__(self, real_fsync: Callable[[int], None]) -> None:
        self._fsync = real_fsync
        self._lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self._names: dict[Path, set[str]] = {}
        self.before_journal_fsync: Callable[[], None] = lambda: None
        self.journal_fsync_count = 0

    def fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.suffix == ".journal":
            self.journal_fsync_count += 1
            self.before_journal_fsync()
        status = os.fstat(descriptor)
        names = {entry.name for entry in path.iterdir()} if stat.S_ISDIR(status.st_mode) else None
        self._fsync(descriptor)
        with self._lock:
            if names is None:
                self._sizes[path] = status.st_size
            else:
                self._names[path] = names

    def is_named(self, path: Path, root: Path) -> bool:
        """Whether every name on the way from `root` to `path` is on disk."""
        return path == root or (path.name in self._names.get(path.parent, ()) and self.is_named(path.parent, root))

    def journal_after_cut(self, home: Path, copy: Path) -> None:
        """Make `copy` the home as it is when the power goes now, as far as the journal is concerned."""
        (copy / "webhooks").mkdir(parents=True)
        for path in journal_files(home):
            if self.is_named(path, home.parent):
                durable_bytes = self._sizes.get(path, 0)
                (copy / "webhooks" / path.name).write_bytes(path.read_bytes()[:durable_bytes])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(os.fsync)
    monkeypatch.setattr(os, "fsync", disk.fsync)
    return disk


def bodies_of(embeds: int) -> list[bytes]:
    return list(full_events(Simulation(SimulatorOptions(embeds=embeds))))


def uuid_of(body: bytes) -> str:
    return orjson.loads(body)["uuid"]


def test_no_event_is_answered_before_its_fsync_and_those_that_waited_share_one(home: Path, disk: Disk) -> None:
    is_writing, may_write = threading.Event(), threading.Event()

    def hold() -> None:
        is_writing.set()
        assert may_write.wait(60)

    disk.before_journal_fsync = hold
    bodies = bodies_of(10)[:21]
    with running_receiver(home) as receiver, ThreadPoolExecutor(len(bodies)) as pool:
        answers = [pool.submit(receiver.push, bodies[0])]
        assert is_writing.wait(60)
        answers += [pool.submit(receiver.push, body) for body in bodies[1:]]
        until(lambda: receiver.server.journal.waiting_count == len(bodies))
        assert not any(answer.done() for answer in answers)
        may_write.set()
        assert [answer.result().status_code for answer in answers] == [200] * len(bodies)
        assert disk.journal_fsync_count == 2
    ingest(home)
    assert sorted(landed_uuids(home)) == sorted(map(uuid_of, bodies))


def test_an_fsync_that_fails_is_a_429_and_its_event_is_not_kept(home: Path, disk: Disk) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "the disk is broken")

    with running_receiver(home) as receiver:
        assert receiver.push(b'{"uuid":"event-before"}').status_code == 200
        disk.before_journal_fsync = fail
        answer = receiver.push(b'{"uuid":"event-refused"}')
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert receiver.metric("rejected_total", reason="disk") == 1
        disk.before_journal_fsync = lambda: None
        assert receiver.push(b'{"uuid":"event-after"}').status_code == 200
    ingest(home)
    assert sorted(landed_uuids(home)) == ["event-after", "event-before"]


@pytest.mark.slow
def test_the_power_cut_at_any_moment_leaves_every_event_that_was_answered(
    home: Path, tmp_path: Path, disk: Disk
) -> None:
    bodies = bodies_of(40)[:300]
    stored: set[str] = set()
    cuts: list[tuple[Path, set[str]]] = []

    def push(receiver: RunningReceiver, number: int) -> None:
        assert receiver.push(bodies[number]).status_code == 200
        stored.add(uuid_of(bodies[number]))
        if number % 40 == 0:
            known, copy = set(stored), tmp_path / f"cut-{number}"
            disk.journal_after_cut(home, copy)
            cuts.append((copy, known))

    with (
        running_receiver(home, limits=JournalLimits(segment_bytes=20_000)) as receiver,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(push, [receiver] * len(bodies), range(len(bodies))))
    assert len(cuts) == 8
    for copy, known in cuts:
        ingest(copy)
        assert known <= set(landed_uuids(copy))


def test_raw_is_on_disk_before_its_events_are_remembered_or_a_segment_goes(home: Path, disk: Disk) -> None:
    with running_receiver(home) as receiver:
        for body in bodies_of(10):
            assert receiver.push(body).status_code == 200
    journal = journal_files(home)

    class Watched:
        """The state's connection, which looks at the disk when it commits."""

        commits = 0

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def commit(self) -> None:
            self._connection.commit()
            files = [home / path for (path,) in self._connection.execute("select path from held_files")]
            assert len({path.parent for path in files}) > 1
            assert all(disk.is_named(path, home) for path in files)
            assert journal_files(home) == journal
            Watched.commits += 1

    with open_state(Home(home)) as state:
        connection = cast("sqlite3.Connection", Watched(state.connection))
        ingest_journal(Home(home), connection, TokenReader({}, {}, None), None, state.embed_token_fingerprint)
    assert Watched.commits == 1
    assert journal_files(home) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_receiver_whose_writer_is_gone_answers_429_and_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_receiver(home) as receiver:
        monkeypatch.setattr("pipelines.webhooks.journal.write_whole", fault)
        assert receiver.push(b'{"uuid":"event-1"}').status_code == 429
        until(lambda: receiver.server.should_exit)
    assert not receiver.server.journal.is_sound


def fault(*_: object) -> None:
    raise MemoryError
