"""Runs a Dagster job in this process, for the command line. The run is recorded in the home's run history."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipelines.errors import EmbedAnalyticsError, InterruptedRunError, PermanentError
from pipelines.home.full_disk import full_disk_named
from pipelines.orchestration.run_summary import RunSummary

if TYPE_CHECKING:
    import dagster as dg

    from pipelines.settings import Settings


class RunFailedError(PermanentError):
    """A run failed. The message is the failure's. `summary` says what the run published anyway."""

    def __init__(self, message: str, summary: RunSummary | None = None) -> None:
        super().__init__(message)
        self.summary = summary


def run_job(settings: Settings, job: str, config: dict[str, Any], tags: dict[str, str]) -> RunSummary:
    """Run a job with these settings to its end. Raises RunFailedError with the message of the failure that ended it,
    or InterruptedRunError."""
    from pipelines.definitions import build_definitions
    from pipelines.orchestration.first_partition import include_in_partitions
    from pipelines.orchestration.instance import terminal_runs
    from pipelines.orchestration.instance.opening import open_instance
    from pipelines.orchestration.jobs import RANGE_START

    run_id = str(uuid4())
    # Dagster writes its history between the steps, and it meets a full disk as they do.
    with (
        full_disk_named(settings.home),
        _quiet_logs(),
        open_instance(settings.home, settings.embed_analytics_dagster_database_url) as instance,
        terminal_runs.alive(instance, run_id),
    ):
        if (first := tags.get(RANGE_START)) and settings.embed_analytics_start_date is None:
            include_in_partitions(settings.home, date.fromisoformat(first))
        definition = build_definitions(settings).resolve_job_def(job)
        terminal_runs.fail_dead_runs(instance)
        result = definition.execute_in_process(
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**tags, **terminal_runs.terminal_tags(run_id)},
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
        )
        if not result.success:
            instance.report_engine_event(terminal_runs.NOT_AGAIN, result.dagster_run)
    summary = _summary(result)
    if not result.success:
        raise _failure(result, summary)
    return summary


def _summary(result: dg.ExecuteInProcessResult) -> RunSummary:
    return RunSummary.of(
        {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization
            for event in result.get_asset_materialization_events()
            if event.asset_key
        },
        result.get_asset_check_evaluations(),
    )


def _failure(result: dg.ExecuteInProcessResult, summary: RunSummary) -> EmbedAnalyticsError:
    published = summary if summary.has_published else None
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                error = data.user_failure_data.metadata.get("error")
                if error is not None and error.value == "Interrupted":
                    return InterruptedRunError(data.user_failure_data.description)
                return RunFailedError(data.user_failure_data.description, published)
            if data.error:
                return RunFailedError(data.error.to_string(), published)
    return RunFailedError("The run failed, but no step reported an error.")


@contextmanager
def _quiet_logs() -> Generator[None]:
    logger = logging.getLogger("dagster")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
