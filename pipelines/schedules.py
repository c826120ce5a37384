"""When the jobs run by themselves."""

from datetime import date

import dagster as dg

from pipelines.jobs import partition_range, publish, reconcile, refresh, run_config
from pipelines.settings import load_settings

_settings = load_settings()


def _today(context: dg.ScheduleEvaluationContext) -> dict[str, str]:
    today: date = context.scheduled_execution_time.date()
    return partition_range(today, today)


@dg.schedule(
    job=refresh,
    cron_schedule=_settings.embed_analytics_refresh_cron,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Poll, flatten and publish. The tick after a missed one asks all that is due by then.",
)
def refresh_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(tags=_today(context), run_config=run_config("refresh"))


@dg.schedule(
    job=reconcile,
    cron_schedule=_settings.embed_analytics_reconcile_cron,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Ask every embed, and count what the source still has of what is held.",
)
def reconcile_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(tags=_today(context), run_config=run_config("reconcile"))


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    request_job=publish,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Publishes after a run that filled lake partitions and had no warehouse in it: a backfill in the UI.",
)
def publish_after_lake(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    selected = context.dagster_run.asset_selection
    if context.dagster_run.job_name != "__ASSET_JOB" or not selected:
        return dg.SkipReason("The run published by itself.")
    groups = {key.path[0] for key in selected}
    if "lake" not in groups or "warehouse" in groups:
        return dg.SkipReason("The run did not change the lake, or published by itself.")
    return dg.RunRequest(run_key=context.dagster_run.run_id)


SCHEDULES = [refresh_schedule, reconcile_schedule]
