"""What follows a run automatically: publishing after a backfill in the UI, and alerts."""

from collections.abc import Iterable

import dagster as dg

from pipelines.orchestration.jobs import (
    FLATTEN_CONFIG,
    FLATTEN_JOB,
    PAGE_JOB,
    PUBLISH_JOB,
    RANGE_END,
    RANGE_START,
)
from pipelines.settings import Settings

BACKFILL_TAG = "dagster/backfill"
PARTITION_TAG = "dagster/partition"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors that always exist, all running by default."""
    return [publish_after_backfill, _build_alerts(settings)]


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    request_jobs=[FLATTEN_JOB, PUBLISH_JOB, PAGE_JOB],
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Publishes after a backfill in the UI, which cannot hold partitioned and unpartitioned assets in one "
    "run. After a backfill of only raw it flattens, too. After a run of only the warehouse it writes the page.",
)
def publish_after_backfill(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    run = context.dagster_run
    groups = _groups(run.asset_selection or [])
    if not run.job_name.startswith("__") or not groups & {"raw", "lake", "warehouse"}:
        return dg.SkipReason("The run did not materialise raw, lake or warehouse from the UI.")
    launched = groups | _groups_of_backfill(context.instance, run)
    if "warehouse" in groups:
        if "report" in launched:
            return dg.SkipReason("The page was launched with it.")
        return dg.RunRequest(run_key=run.run_id, job_name=PAGE_JOB.name)
    if "warehouse" in launched:
        return dg.SkipReason("The warehouse was launched with it.")
    if "lake" in launched - groups:
        return dg.SkipReason("The lake follows in the same backfill.")
    backfill_id = run.tags.get(BACKFILL_TAG)
    if backfill_id and _has_unfinished(context.instance, backfill_id):
        return dg.SkipReason("Another range of the same backfill is not done yet.")
    if "lake" in groups:
        return dg.RunRequest(run_key=run.run_id, job_name=PUBLISH_JOB.name)
    first = run.tags.get(RANGE_START, run.tags.get(PARTITION_TAG))
    last = run.tags.get(RANGE_END, run.tags.get(PARTITION_TAG))
    if first is None or last is None:
        return dg.SkipReason("The run had no partitions.")
    return dg.RunRequest(
        run_key=run.run_id,
        job_name=FLATTEN_JOB.name,
        tags={RANGE_START: first, RANGE_END: last},
        run_config=FLATTEN_CONFIG,
    )


def _build_alerts(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts failed runs, failed checks and stuck sessions to EMBED_ANALYTICS_ALERT_WEBHOOK_URL, once "
        "per episode. Nothing is posted without that setting.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if settings.embed_analytics_alert_webhook_url is None:
            # Once the setting is made, nothing that happened before is reported.
            return dg.SensorResult(skip_reason="EMBED_ANALYTICS_ALERT_WEBHOOK_URL is not set.", cursor="")

        from pipelines.orchestration.alerts import Watch, look, post

        if not context.cursor:
            beginning = Watch.from_now_on(context.instance)
            return dg.SensorResult(skip_reason="Watching from now on.", cursor=beginning.cursor())
        watch = Watch.read(context.cursor)
        lines = look(context.instance, settings, watch)
        if lines:
            # If this fails, the cursor stays where it is, and the next tick tries again.
            post(settings.embed_analytics_alert_webhook_url, lines)
        return dg.SensorResult(
            skip_reason=f"Posted {len(lines)} lines." if lines else "Nothing new.", cursor=watch.cursor()
        )

    return alerts


def _groups(keys: Iterable[dg.AssetKey]) -> set[str]:
    return {key.path[0] for key in keys}


def _groups_of_backfill(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    backfill_id = run.tags.get(BACKFILL_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    return _groups(backfill.asset_selection or []) if backfill else set()


def _has_unfinished(instance: dg.DagsterInstance, backfill_id: str) -> bool:
    same = dg.RunsFilter(tags={BACKFILL_TAG: backfill_id}, statuses=_UNFINISHED)
    return bool(instance.get_run_ids(same, limit=1))
