"""Tells whether the process of a command-line run is still alive.

Each such run holds an operating-system lock for as long as it runs. Otherwise a killed run would count as started
forever, and since only one run goes at a time, no other could begin.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import dagster as dg

# Marks a run of the command line. Its value is the run's own id, because a run launched like this one copies its tags.
TERMINAL_TAG = "embed_analytics/terminal"

DEATH = (
    "The process of this run ended before the run did: it was killed, or the machine stopped. Nothing is lost: the "
    "next run goes on from what had landed."
)

# Dagster re-executes a run from the code location that loaded it. The command line loads its jobs without one.
NOT_AGAIN = (
    "Dagster cannot re-execute a run of the command line: give the command again, or launch the job of this name."
)


def terminal_tags(run_id: str) -> dict[str, str]:
    """The tags of a command-line run. It is not retried: Dagster could not, and its user sees why it failed."""
    return {TERMINAL_TAG: run_id, "dagster/max_retries": "0"}


def is_terminal_run(run: dg.DagsterRun) -> bool:
    """Whether the command line runs it in a process of its own."""
    return run.tags.get(TERMINAL_TAG) == run.run_id


@contextmanager
def alive(instance: dg.DagsterInstance, run_id: str) -> Generator[None]:
    """Hold the lock that shows that the run's process is alive."""
    path = _lock_path(instance, run_id)
    path.parent.mkdir(exist_ok=True)
    with FileLock(path):
        yield
    path.unlink(missing_ok=True)


def is_alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    path = _lock_path(instance, run_id)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def fail_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark command-line runs as failed whose process has died."""
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]
    for run in instance.get_runs(RunsFilter(statuses=unfinished)):
        if is_terminal_run(run) and not is_alive(instance, run.run_id):
            instance.report_run_failed(run, f"{DEATH} {NOT_AGAIN}")


def _lock_path(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "running" / f"{run_id}.lock"
