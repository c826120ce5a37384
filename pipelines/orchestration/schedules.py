"""The schedules of the jobs. The next tick makes up for a missed one, because it asks all that is due by then."""

from datetime import date
from typing import Literal

import dagster as dg

from pipelines.errors import ConfigurationError
from pipelines.orchestration.jobs import PRUNE_JOB_NAME, partition_range, run_config
from pipelines.settings import Settings

_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The schedules, all running by default. Raises ConfigurationError for an invalid cron expression."""
    refresh = cron_of("embed_analytics_refresh_cron", settings.embed_analytics_refresh_cron)
    reconcile = cron_of("embed_analytics_reconcile_cron", settings.embed_analytics_reconcile_cron)
    prune = cron_of("embed_analytics_prune_cron", settings.embed_analytics_prune_cron)
    return [
        _sweep_schedule(
            "refresh", refresh, "Poll, flatten and publish. The tick after a missed one asks all that is due by then."
        ),
        _sweep_schedule(
            "reconcile", reconcile, "Ask every embed, and count what the source still has of what is held."
        ),
        dg.ScheduleDefinition(
            name="prune_schedule",
            job_name=PRUNE_JOB_NAME,
            cron_schedule=prune,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Delete run history that is older than the setting says and that no present state comes from.",
        ),
    ]


def _sweep_schedule(job: Literal["refresh", "reconcile"], cron: str, description: str) -> dg.ScheduleDefinition:
    """A schedule of the job that sweeps the day on which the tick was due."""

    def ask(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if _is_waiting(context, job):
            return dg.SkipReason(f"A {job} is already waiting for its turn.")
        return dg.RunRequest(tags=_today(context), run_config=run_config(job))

    return dg.ScheduleDefinition(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
        execution_fn=ask,
    )


def _today(context: dg.ScheduleEvaluationContext) -> dict[str, str]:
    today: date = context.scheduled_execution_time.date()
    return partition_range(today, today)


def _is_waiting(context: dg.ScheduleEvaluationContext, job: str) -> bool:
    """Whether a run of the job is queued, say behind a long backfill. It will do what this tick would do."""
    return bool(context.instance.get_run_ids(dg.RunsFilter(job_name=job, statuses=_WAITING), limit=1))


def cron_of(setting: str, text: str) -> str:
    """The cron expression of a setting. Raises ConfigurationError if Dagster cannot use it."""
    try:
        dg.ScheduleDefinition(name="probe", job_name="probe", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        raise ConfigurationError(
            f"A setting cannot be used: {setting.upper()}: {text!r} is not a cron expression of five fields."
        ) from None
    return text
