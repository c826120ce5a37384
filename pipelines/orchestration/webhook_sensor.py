"""Refreshes the warehouse when webhook events have arrived, without waiting for the schedule."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from pipelines.orchestration.jobs import REFRESH_JOB, partition_range, run_config
from pipelines.settings import Settings
from pipelines.webhooks.segments import segment_sizes

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def journal_mark(folder: Path) -> dict[str, int]:
    """What the journal holds, by a look at its files: bytes by segment."""
    return {segment.name: segment.size_bytes for segment in segment_sizes(folder)}


def has_arrived(seen: dict[str, int], now: dict[str, int]) -> bool:
    """Whether a journal holds more than before. A refresh has taken in segments that are gone."""
    return any(seen.get(name) != size for name, size in now.items())


def build_webhook_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor of this home's journal, or none if the setting is off."""
    seconds = settings.embed_analytics_webhook_refresh_seconds
    return [build_sensor(settings.home.webhook_journal, seconds)] if seconds else []


def build_sensor(journal: Path, seconds: int) -> dg.SensorDefinition:
    """A sensor that requests a refresh when events have arrived since its last request, at most once in `seconds`."""

    @dg.sensor(
        name="refresh_after_webhooks",
        job=REFRESH_JOB,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Refreshes soon after webhook events arrived (EMBED_ANALYTICS_WEBHOOK_REFRESH_SECONDS).",
    )
    def refresh_after_webhooks(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        mark = journal_mark(journal)
        if not has_arrived(json.loads(context.cursor or "{}"), mark):
            return dg.SkipReason("No webhook event has arrived since this sensor last asked for a refresh.")
        # The cursor stays. The refresh under way may have begun too early, so another is requested when it is done.
        if context.instance.get_runs_count(dg.RunsFilter(job_name=REFRESH_JOB.name, statuses=UNFINISHED)):
            return dg.SkipReason("A refresh is under way.")
        today = datetime.now(UTC).date()
        request = dg.RunRequest(tags=partition_range(today, today), run_config=run_config("refresh"))
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(mark))

    return refresh_after_webhooks
