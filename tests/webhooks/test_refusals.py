"""What the receiver refuses is counted on disk, and ends in raw once, whatever is read twice."""

import errno
import os
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.home.times import moment, utc_now
from pipelines.webhooks.journal import JournalLimits
from pipelines.webhooks.receiver import MAX_BODY_BYTES
from pipelines.webhooks.records import Refusal, decode, encode_refusal
from tests.webhooks.receiving import basic, ingest, journal_files, landed_uuids, running_receiver, until

SOON = JournalLimits(refusal_seconds=0.01)
TOO_LARGE = b'{"uuid": "event-1", "data": "' + b"x" * MAX_BODY_BYTES + b'"}'


def gaps(home: Path) -> list[dict[str, Any]]:
    files = sorted(home.glob("raw/webhook_gaps/*.parquet"))
    return [row for file in files for row in pl.read_parquet(file).rows(named=True)]


def refused(home: Path) -> Counter[str]:
    """How many requests were refused by reason, as raw has it."""
    counts: Counter[str] = Counter()
    for row in gaps(home):
        counts[row["reason"]] += row["refused_count"]
    return counts


def the_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def test_a_refusal_is_a_line_of_the_journal() -> None:
    record = decode(encode_refusal(Refusal("disk", 3), 3_600_000_000))
    assert record is not None
    assert (record.received_at, record.refusal, record.event) == (3_600_000_000, Refusal("disk", 3), None)


def test_what_had_the_secret_is_counted_without_any_event_and_nothing_else(home: Path) -> None:
    began = the_hour(utc_now())
    with running_receiver(home, limits=SOON) as receiver:
        assert receiver.push(TOO_LARGE).status_code == 413
        assert receiver.push(TOO_LARGE, authorization=basic("wrong")).status_code == 401
        assert receiver.client.get("/nothing", headers={"authorization": basic()}).status_code == 404
        # No event comes, and it is written all the same.
        until(lambda: any(file.stat().st_size for file in journal_files(home)))
        assert ingest(home).delivered_event_count == 0
        assert refused(home) == {"too_large": 1}
        assert receiver.push(TOO_LARGE).status_code == 413
        assert receiver.push(b'{"uuid": "event-2"}').status_code == 200
    # The segment is read again.
    assert ingest(home).delivered_event_count == 1
    assert refused(home) == {"too_large": 2}
    assert all(began <= row["began_at"] <= utc_now() and row["began_at"].minute == 0 for row in gaps(home))
    assert landed_uuids(home) == ["event-2"]
    assert journal_files(home) == []


def test_refusals_are_added_up_and_written_at_the_end(home: Path) -> None:
    with running_receiver(home, limits=JournalLimits(waiting_count=0)) as receiver:
        for _ in range(30):
            assert receiver.push(b'{"uuid": "event-1"}').status_code == 429
        assert receiver.metric("rejected_total", reason="overloaded") == 30
        assert [file.stat().st_size for file in journal_files(home)] == [0]
    ingest(home)
    assert refused(home) == {"overloaded": 30}
    # In the course of an hour, or of two.
    assert len(gaps(home)) <= 2


def test_what_the_disk_refuses_is_kept_until_it_takes_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, is_broken = os.fsync, True

    def failing(descriptor: int) -> None:
        if is_broken and Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".journal":
            raise OSError(errno.EIO, "the disk is broken")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with running_receiver(home, limits=SOON) as receiver:
        for _ in range(3):
            assert receiver.push(b'{"uuid": "event-1"}').status_code == 429
        is_broken = False
        until(lambda: any(file.stat().st_size for file in journal_files(home)))
    ingest(home)
    assert refused(home) == {"disk": 3}


def test_a_receiver_ends_although_the_disk_takes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".journal":
            raise OSError(errno.ENOSPC, "no space left")
        fsync(descriptor)

    with running_receiver(home) as receiver:
        monkeypatch.setattr(os, "fsync", failing)
        assert receiver.push(b'{"uuid": "event-1"}').status_code == 429
    assert journal_files(home) == []


def test_a_segment_that_is_read_again_after_a_kill_adds_nothing(home: Path) -> None:
    with running_receiver(home) as receiver:
        assert receiver.push(TOO_LARGE).status_code == 413
    (segment,) = journal_files(home)
    content = segment.read_bytes()
    ingest(home)
    segment.write_bytes(content)
    ingest(home)
    assert refused(home) == {"too_large": 1}


def test_a_damaged_segment_is_a_gap_once(home: Path) -> None:
    with running_receiver(home) as receiver:
        assert receiver.push(b'{"uuid": "event-1"}').status_code == 200
        assert receiver.push(b'{"uuid": "event-2"}').status_code == 200
    (segment,) = journal_files(home)
    segment.write_bytes(segment.read_bytes().replace(b"event-2", b"event-3"))
    for _ in range(2):
        assert len(ingest(home).damages) == 1
    (row,) = gaps(home)
    assert (row["reason"], row["refused_count"]) == ("damaged", None)
    assert row["gap_id"] == f"{segment.stem}-damaged"
    assert moment(time.time_ns() // 1000) - row["began_at"] < timedelta(minutes=10)
    assert segment.exists()
