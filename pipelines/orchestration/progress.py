"""Shows how far a sweep is: a bar in the terminal that started it, else lines in the run's log."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.poll.report import SweepProgress

    ProgressSink = Callable[[SweepProgress], None]

LOG_INTERVAL_SECONDS = 10.0

_terminal: ContextVar[ProgressSink | None] = ContextVar("progress_sink", default=None)
_terminal_lines: ContextVar[Callable[[str], None] | None] = ContextVar("terminal_lines", default=None)


@contextmanager
def terminal_progress(*, shows_bar: bool = True) -> Generator[None]:
    """Show sweeps that run in this thread as a bar on standard error, with other messages above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shows_bar,
    ) as bar:
        task = bar.add_task("asking embeds for events", total=None, rate=0.0)

        def show(progress: SweepProgress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, rate=progress.rate)

        def say(line: str) -> None:
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

        token, lines_token = _terminal.set(show), _terminal_lines.set(say)
        try:
            yield
        finally:
            _terminal.reset(token)
            _terminal_lines.reset(lines_token)


def line_sink(log: Callable[[str], None]) -> Callable[[str], None]:
    """Writes lines to `log`, and to the terminal if there is one, which does not show a run's log."""
    terminal = _terminal_lines.get()
    if terminal is None:
        return log

    def both(line: str) -> None:
        log(line)
        terminal(line)

    return both


def progress_sink(log: Callable[[str], None], observe: ProgressSink) -> ProgressSink:
    """The terminal's bar if there is one. Otherwise lines to `log`, at most one in LOG_INTERVAL_SECONDS, and the same
    progress to `observe`."""
    if (terminal := _terminal.get()) is not None:
        return terminal
    next_at = LOG_INTERVAL_SECONDS

    def line(progress: SweepProgress) -> None:
        nonlocal next_at
        if progress.seconds >= next_at:
            next_at = progress.seconds + LOG_INTERVAL_SECONDS
            left = progress.seconds_left
            log(
                f"{progress.done} of {progress.total} embeds asked ({progress.failed} failed), "
                f"{progress.landed_events} new events, {progress.rate:.0f} embeds/s, "
                f"{'?' if left is None else round(left)} s left"
            )
            observe(progress)

    return line
