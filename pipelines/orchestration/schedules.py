"""When the jobs run by themselves. A missed tick is caught up by the next one, which asks all that is due by then."""

from datetime import date

import dagster as dg

from pipelines.errors import ConfigurationError
from pipelines.orchestration.jobs import partition_range, prune_run_history, reconcile, refresh, run_config
from pipelines.settings import load_settings

_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]


def _today(context: dg.ScheduleEvaluationContext) -> dict[str, str]:
    today: date = context.scheduled_execution_time.date()
    return partition_range(today, today)


def _is_waiting(context: dg.ScheduleEvaluationContext, job: str) -> bool:
    """A run of the job stands in the queue, behind a long backfill: it will do what this tick would."""
    return bool(context.instance.get_run_ids(dg.RunsFilter(job_name=job, statuses=_WAITING), limit=1))


def _cron(setting: str) -> str:
    """The cron expression of a setting. Raises ConfigurationError where Dagster has no use for it."""
    text: str = getattr(load_settings(), setting)
    try:
        dg.ScheduleDefinition(name="probe", job_name="probe", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        raise ConfigurationError(
            f"A setting cannot be used: {setting.upper()}: {text!r} is not a cron expression of five fields."
        ) from None
    return text


@dg.schedule(
    job=refresh,
    cron_schedule=_cron("embed_analytics_refresh_cron"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Poll, flatten and publish. The tick after a missed one asks all that is due by then.",
)
def refresh_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if _is_waiting(context, "refresh"):
        return dg.SkipReason("A refresh is waiting for its turn already.")
    return dg.RunRequest(tags=_today(context), run_config=run_config("refresh"))


@dg.schedule(
    job=reconcile,
    cron_schedule=_cron("embed_analytics_reconcile_cron"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Ask every embed, and count what the source still has of what is held.",
)
def reconcile_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if _is_waiting(context, "reconcile"):
        return dg.SkipReason("A reconcile is waiting for its turn already.")
    return dg.RunRequest(tags=_today(context), run_config=run_config("reconcile"))


@dg.schedule(
    job=prune_run_history,
    cron_schedule=_cron("embed_analytics_prune_cron"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Delete run history that no present state stems from and that is older than the setting says.",
)
def prune_schedule() -> dg.RunRequest:
    return dg.RunRequest()


SCHEDULES = [refresh_schedule, reconcile_schedule, prune_schedule]
