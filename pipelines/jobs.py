"""The jobs, and the run configuration that tells them apart."""

from datetime import date
from typing import Any

import dagster as dg

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
publish = dg.define_asset_job(
    "publish", selection=WAREHOUSE, description="Build, check and publish the warehouse from the lake as it is."
)

JOBS = [refresh, backfill, reconcile, publish]
