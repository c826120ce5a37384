"""The pace on a clock of its own."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.oneschema.pace import RETRY_AFTER_MAX_SECONDS, SPACING_SECONDS, Pace, http_date, retry_after_seconds

NOW = datetime(2026, 1, 28, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def turns(pace: Pace, clock: Clock, count: int) -> list[float]:
    async def run() -> list[float]:
        times: list[float] = []
        for _ in range(count):
            await pace.turn()
            times.append(clock.now)
        return times

    return asyncio.run(run())


def test_without_a_bound_requests_are_a_little_apart() -> None:
    clock = Clock()
    pace = Pace(monotonic=clock.monotonic, sleep=clock.sleep)
    assert turns(pace, clock, 101)[-1] == pytest.approx(100 * SPACING_SECONDS)


def test_who_comes_late_enough_does_not_wait() -> None:
    clock = Clock()
    pace = Pace(monotonic=clock.monotonic, sleep=clock.sleep)
    for second in range(1, 10):
        clock.now = float(second)
        assert turns(pace, clock, 1) == [second]


def test_the_rate_is_bounded() -> None:
    clock = Clock()
    pace = Pace(50, monotonic=clock.monotonic, sleep=clock.sleep)
    assert turns(pace, clock, 101)[-1] == pytest.approx(2.0)


def test_a_refusal_slows_down_and_successes_recover() -> None:
    clock = Clock()
    pace = Pace(monotonic=clock.monotonic, sleep=clock.sleep)
    pace.refused(None)
    slow = pace.interval_seconds
    assert slow > SPACING_SECONDS
    clock.now += 10
    pace.refused(None)
    assert pace.interval_seconds > slow
    for _ in range(100):
        pace.succeeded()
    assert pace.interval_seconds == SPACING_SECONDS


def test_refusals_of_requests_already_under_way_count_once() -> None:
    clock = Clock()
    pace = Pace(monotonic=clock.monotonic, sleep=clock.sleep)
    pace.refused(None)
    once = pace.interval_seconds
    for _ in range(15):
        pace.refused(None)
    assert pace.interval_seconds == once


def test_everybody_waits_as_long_as_the_server_asks() -> None:
    clock = Clock()
    pace = Pace(monotonic=clock.monotonic, sleep=clock.sleep)
    pace.refused(7)
    assert turns(pace, clock, 1) == [7]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        (" 0.5 ", 0.5),
        ("-3", 0),
        ("99999", RETRY_AFTER_MAX_SECONDS),
        ("inf", RETRY_AFTER_MAX_SECONDS),
        ("nan", None),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0),
        ("Wed, 28 Jan 2026 12:00:10", 10),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_clamped(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_raises(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_MAX_SECONDS


@pytest.mark.parametrize(
    ("header", "moment"),
    [
        ("Wed, 28 Jan 2026 12:00:00 GMT", NOW),
        (" Wed, 28 Jan 2026 13:00:00 +0100 ", NOW),
        ("Wed, 28 Jan 2026 12:00:00", NOW),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_of_http(header: str | None, moment: datetime | None) -> None:
    assert http_date(header) == moment
