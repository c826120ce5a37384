"""The jobs, and the run configuration that tells them apart."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from pipelines.settings import load_settings

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

WAREHOUSE = dg.AssetSelection.groups("warehouse")


def run_config(kind: str, *, full_refresh: bool = False) -> dict[str, Any]:
    """Run configuration of a refresh, backfill or reconcile. A refresh leaves clean days alone."""
    return {
        "ops": {
            "raw__embed_events": {"config": {"kind": kind}},
            "lake": {"config": {"redo_partitions": kind == "backfill"}},
            "warehouse": {"config": {"full_refresh": full_refresh, "check_everything": kind == "reconcile"}},
        }
    }


# What `flatten` does to days that are clean already: nothing.
FLATTEN_CONFIG: dict[str, Any] = {"ops": {"lake": {"config": {"redo_partitions": False}}}}


def partition_range(first: date, last: date) -> dict[str, str]:
    """Run tags for the event dates `first` to `last`, both included, in one run."""
    return {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}


refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    config=run_config("refresh"),
    description="Poll the embeds that are due, flatten what is new, build, check and publish.",
)
backfill = dg.define_asset_job(
    "backfill",
    selection=dg.AssetSelection.all(),
    config=run_config("backfill"),
    description="Ask every embed that may have events in a range of dates, redo those days, and publish.",
)
reconcile = dg.define_asset_job(
    "reconcile",
    selection=dg.AssetSelection.all(),
    config=run_config("reconcile"),
    description="Walk the whole list, ask every embed, count what the source still has, check everything, and publish.",
)
flatten = dg.define_asset_job(
    "flatten",
    selection=dg.AssetSelection.groups("lake") | WAREHOUSE,
    config=FLATTEN_CONFIG,
    description="Flatten what landed, build, check and publish: what follows a backfill of raw alone.",
)
publish = dg.define_asset_job(
    "publish", selection=WAREHOUSE, description="Build, check and publish the warehouse from the lake as it is."
)


@dg.op(description="Deletes old runs and their events; see pipelines.orchestration.instance.pruning for what stays.")
def prune_runs(context: dg.OpExecutionContext) -> None:
    # The checks are known once everything is loaded, which takes this module first.
    from pipelines.definitions import defs
    from pipelines.orchestration.instance.pruning import prune_run_history

    checks = defs.get_repository_def().asset_graph.asset_check_keys
    before = datetime.now(UTC) - timedelta(days=load_settings().embed_analytics_keep_runs_days)
    report = prune_run_history(context.instance, before, checks)
    context.add_output_metadata({"deleted_runs": report.deleted_count, "kept_old_runs": report.kept_count})
    context.log.info(f"Deleted {report.deleted_count} runs from before {before:%Y-%m-%d}, kept {report.kept_count}.")


@dg.job(
    description="Prune old run history; what the assets, partitions and checks are now stays known.",
    executor_def=dg.in_process_executor,
)
def prune_run_history() -> None:
    prune_runs()


JOBS = [refresh, backfill, reconcile, flatten, publish, prune_run_history]
