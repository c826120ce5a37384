"""The jobs, and the run configuration that tells them apart.

What a job does is in its assets. When it runs is in schedules.py and the sensors.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from pipelines.orchestration.instance.pruning import prune_run_history
from pipelines.settings import Settings

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

PAGE = dg.AssetSelection.groups("report")
PUBLISHED = dg.AssetSelection.groups("warehouse") | PAGE

# The steps, in the order in which they follow each other. Dagster names them after the assets' functions.
RAW_STEP = "raw__embed_events"
LAKE_STEP = "lake"
WAREHOUSE_STEP = "warehouse"
REPORT_STEP = "report"
STEPS = (RAW_STEP, LAKE_STEP, WAREHOUSE_STEP, REPORT_STEP)


def run_config(kind: str, *, full_refresh: bool = False) -> dict[str, Any]:
    """The run configuration of a refresh, backfill or reconcile, and of `webhooks`, which asks nothing.

    Only a backfill flattens clean days again.
    """
    return {
        "ops": {
            RAW_STEP: {"config": {"kind": kind}},
            LAKE_STEP: {"config": {"redo_partitions": kind == "backfill"}},
            WAREHOUSE_STEP: {"config": {"full_refresh": full_refresh, "check_everything": kind == "reconcile"}},
        }
    }


# The job `flatten` leaves clean days alone.
FLATTEN_CONFIG: dict[str, Any] = {"ops": {LAKE_STEP: {"config": {"redo_partitions": False}}}}


def partition_range(first: date, last: date) -> dict[str, str]:
    """The run tags for the event dates `first` to `last`, both included, in one run."""
    return {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}


REFRESH_JOB = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    config=run_config("refresh"),
    description="Poll the embeds that are due, flatten what is new, build, check and publish.",
)
BACKFILL_JOB = dg.define_asset_job(
    "backfill",
    selection=dg.AssetSelection.all(),
    config=run_config("backfill"),
    description="Ask every embed that may have events in a range of dates, redo those days, and publish.",
)
RECONCILE_JOB = dg.define_asset_job(
    "reconcile",
    selection=dg.AssetSelection.all(),
    config=run_config("reconcile"),
    description="Walk the whole list, ask every embed, count what the source still has, check everything, and publish.",
)
FLATTEN_JOB = dg.define_asset_job(
    "flatten",
    selection=dg.AssetSelection.groups("lake") | PUBLISHED,
    config=FLATTEN_CONFIG,
    description="Flatten what landed, build, check and publish. It follows a backfill of only raw.",
)
PUBLISH_JOB = dg.define_asset_job(
    "publish", selection=PUBLISHED, description="Build, check and publish the warehouse from the lake as it is."
)
PAGE_JOB = dg.define_asset_job(
    "write_page",
    selection=PAGE,
    description="Write the page of the published warehouse. It follows a run of only the warehouse.",
)
PUBLISH_RAW_JOB = dg.define_asset_job(
    "publish_raw",
    selection=dg.AssetSelection.all(),
    config=run_config("webhooks"),
    description="Take in what webhooks brought, flatten what raw holds, build, check and publish, without the API. For "
    "when the API is down, or when only raw was restored.",
)
ASSET_JOBS = [REFRESH_JOB, BACKFILL_JOB, RECONCILE_JOB, FLATTEN_JOB, PUBLISH_JOB, PUBLISH_RAW_JOB, PAGE_JOB]

PRUNE_JOB_NAME = "prune_run_history"


def build_prune_job(settings: Settings, checks: Sequence[dg.AssetCheckKey]) -> dg.JobDefinition:
    """The job that prunes run history. It keeps the latest evaluation of each check in `checks`."""

    @dg.op(description="Deletes old runs and their events; pipelines.orchestration.instance.pruning says what stays.")
    def prune_runs(context: dg.OpExecutionContext) -> None:
        before = datetime.now(UTC) - timedelta(days=settings.embed_analytics_keep_runs_days)
        report = prune_run_history(context.instance, before, checks)
        deleted, kept = report.deleted_count, report.kept_count
        context.add_output_metadata({"deleted_runs": deleted, "kept_old_runs": kept})
        context.log.info(f"Deleted {deleted} runs from before {before:%Y-%m-%d}, kept {kept}.")

    @dg.job(
        name=PRUNE_JOB_NAME,
        description="Prune old run history. The present state of assets, partitions and checks stays known.",
        executor_def=dg.in_process_executor,
    )
    def prune_job() -> None:
        prune_runs()

    return prune_job
