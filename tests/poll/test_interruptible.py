"""An interrupt meets a sweep where it waits: what was begun ends, and then the handler says what it always says."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from pipelines.poll.interruptible import finished_in_thread, run_interruptibly


class InterruptedByTest(BaseException):
    """What this test's handler raises, as Dagster's raises an error of its own."""


@pytest.fixture(autouse=True)
def _raising_handlers() -> Iterator[None]:
    def interrupt(number: int, _: FrameType | None) -> None:
        raise InterruptedByTest(signal.Signals(number).name)

    before = {name: signal.signal(name, interrupt) for name in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {signal.getsignal(name) for name in before} == {interrupt}, "the handlers are put back"
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_what_was_begun_ends_before_the_handler_raises(name: signal.Signals) -> None:
    done: list[str] = []

    async def main() -> None:
        try:
            asyncio.get_running_loop().call_soon(signal.raise_signal, name)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("recorded")

    with pytest.raises(InterruptedByTest, match=name.name):
        run_interruptibly(main())
    assert done == ["recorded"]


def test_a_thread_is_not_left_behind() -> None:
    is_cancelled = threading.Event()
    done: list[str] = []

    def land() -> None:
        # To the process, as a terminal does.
        os.kill(os.getpid(), signal.SIGINT)
        assert is_cancelled.wait(60)
        done.append("landed")

    async def main() -> None:
        landing = asyncio.ensure_future(finished_in_thread(land))
        try:
            await asyncio.wait({landing})
        finally:
            # As a sweep does: the landing is cancelled and waited for before the record is written.
            for _ in range(2):
                landing.cancel()
                await asyncio.sleep(0)
            is_cancelled.set()
            await asyncio.gather(landing, return_exceptions=True)
            done.append("recorded")

    with pytest.raises(InterruptedByTest):
        run_interruptibly(main())
    assert done == ["landed", "recorded"]


def test_a_second_interrupt_is_not_waited_for() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(InterruptedByTest):
        run_interruptibly(main())


def test_an_interrupt_at_the_very_end_is_not_lost() -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGTERM)
        return "done"

    with pytest.raises(InterruptedByTest, match="SIGTERM"):
        run_interruptibly(main())


def test_results_errors_and_other_threads_are_as_with_asyncio_run() -> None:
    async def result() -> int:
        return await finished_in_thread(max, 1, 2)

    async def failing() -> None:
        await finished_in_thread(int, "x")

    assert run_interruptibly(result()) == 2
    with pytest.raises(ValueError, match="invalid literal"):
        run_interruptibly(failing())
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(run_interruptibly(result())))
    thread.start()
    thread.join()
    assert found == [2]
