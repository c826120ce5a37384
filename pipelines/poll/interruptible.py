"""Runs a sweep so that an interrupt meets it where it waits, and never in the middle of a step.

Dagster's signal handlers raise wherever the main thread happens to be: inside the event loop, inside a socket that is
half made, or while a thread writes to the poll state, which goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_interruptibly(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run, of which an interrupt cancels `main`. What the interrupt would have raised is raised after that, by
    the handler that was there before. A second interrupt is not waited for."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(main)
    with _Interrupts() as interrupts:
        return asyncio.run(interrupts.cancelling(main))


class _Interrupts:
    """Handlers that cancel a task. Leaving calls the handler that was there before, if there was an interrupt."""

    def __init__(self) -> None:
        self._handlers = {name: handler for name in _SIGNALS if callable(handler := signal.getsignal(name))}
        self._received: list[signal.Signals] = []
        self._task: asyncio.Task[Any] | None = None

    async def cancelling(self, main: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.ensure_future(main)
        if self._received:
            self._task.cancel()
        return await self._task

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append(signal.Signals(number))
        if len(self._received) > 1:
            self._handlers[self._received[-1]](number, frame)
        if self._task is not None and not self._task.done():
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def __enter__(self) -> Self:
        for name in self._handlers:
            signal.signal(name, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._handlers.items():
            signal.signal(name, handler)
        if self._received:
            self._handlers[self._received[0]](self._received[0], None)


async def finished_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """asyncio.to_thread, which a cancellation does not leave behind: what the thread does is done when this ends."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    is_cancelled = False
    while not running.done():
        try:
            # This wait is cancelled, and not what it waits for.
            await asyncio.wait({running})
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError from running.exception()
    return running.result()
