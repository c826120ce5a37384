"""Dagster's run launcher, extended to tell whether a run's process is still alive.

Dagster's own launcher cannot. After a power cut or a killed `make dev`, a run would stay started forever, and the queue
behind it would wait. With this one, run monitoring marks such a run as failed, and run retries start it again unless it
was started by the command line.
"""

from dagster import DagsterRun, DefaultRunLauncher

from pipelines.orchestration.instance import terminal_runs
from pipelines.orchestration.instance.dagster_internals import (
    CanCancelExecutionRequest,
    CanCancelExecutionResult,
    CheckRunHealthResult,
    DagsterUserCodeUnreachableError,
    WorkerStatus,
    deserialize_value,
)


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs like Dagster's launcher, and also knows the runs of the command line."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a started run is alive, by its code server's answer or the terminal's lock."""
        if terminal_runs.is_terminal_run(run):
            death = f"{terminal_runs.DEATH} {terminal_runs.NOT_AGAIN}"
            return _result(terminal_runs.is_alive(self._instance, run.run_id), death)
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return _result(is_alive=False)
        try:
            answer = deserialize_value(
                client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=10),
                CanCancelExecutionResult,
            )
        except DagsterUserCodeUnreachableError:
            return _result(is_alive=False)
        return _result(answer.can_cancel)


def _result(is_alive: bool, death: str = terminal_runs.DEATH) -> CheckRunHealthResult:
    if is_alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, death)
