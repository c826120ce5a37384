"""Sends the digest by its schedule, where the settings name somebody to send it to."""

from collections.abc import Sequence

import dagster as dg

from pipelines.errors import EmbedAnalyticsError
from pipelines.home.times import utc_now
from pipelines.orchestration.schedules import cron_of
from pipelines.settings import Settings

DIGEST_JOB_NAME = "digest"


def build_digest_jobs(settings: Settings) -> Sequence[dg.JobDefinition]:
    """The job that sends this home's digest, or none."""
    if not settings.sends_digest:
        return []

    @dg.op(description="Sends the digest to each channel that did not get it in this period (docs/digest.md).")
    def send(context: dg.OpExecutionContext) -> None:
        from pipelines.digest.sending import send_digest

        try:
            send_digest(settings, utc_now(), context.log.info)
        except EmbedAnalyticsError as error:
            # A retry would go on while the next refresh waits. The ledger makes launching the run again safe.
            raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error

    @dg.job(
        name=DIGEST_JOB_NAME,
        description="Send the digest. Launched again, it sends what has not been sent in this period.",
        executor_def=dg.in_process_executor,
    )
    def digest() -> None:
        send()

    return [digest]


def build_digest_schedules(settings: Settings) -> Sequence[dg.ScheduleDefinition]:
    """The schedule of that job, or none. Raises ConfigurationError for an invalid cron expression."""
    if not settings.sends_digest:
        return []
    return [
        dg.ScheduleDefinition(
            name="digest_schedule",
            job_name=DIGEST_JOB_NAME,
            cron_schedule=cron_of("embed_analytics_digest_cron", settings.embed_analytics_digest_cron),
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Send the digest, once from one tick to the next.",
        )
    ]
