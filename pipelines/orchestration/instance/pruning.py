"""Deletes old runs, whose events Dagster would keep forever, without forgetting the state of the assets.

Deleting a run deletes its materialisations. So a run stays, however old, while it is the latest that materialised some
partition or table, or evaluated some check. Otherwise a day filled last year would show as missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# How many event ids to look up at a time.
_CHUNK = 500


@dataclass(frozen=True)
class PruneReport:
    """How many old runs were deleted, and how many stay because some asset's present state comes from them."""

    deleted_count: int
    kept_count: int


def prune_run_history(
    instance: dg.DagsterInstance, before: datetime, checks: Iterable[dg.AssetCheckKey]
) -> PruneReport:
    """Delete finished runs created before `before` (aware), with their events and captured output."""
    present = runs_of_present_state(instance, checks)
    old = instance.get_runs(dg.RunsFilter(statuses=_FINISHED, created_before=before))
    deleted = [run for run in old if run.run_id not in present]
    for run in deleted:
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        instance.delete_run(run.run_id)
    return PruneReport(len(deleted), len(old) - len(deleted))


def runs_of_present_state(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]) -> set[str]:
    """Ids of the runs that last materialised each table or partition, or last evaluated each check."""
    storage = instance.event_log_storage
    run_ids: set[str] = set()
    for key in instance.all_asset_keys():
        if latest := instance.get_latest_materialization_event(key):
            run_ids.add(latest.run_id)
        by_partition = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
        ids = sorted(by_partition.values())
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            records = instance.fetch_materializations(dg.AssetRecordsFilter(key, storage_ids=chunk), limit=_CHUNK)
            run_ids |= {record.run_id for record in records.records}
    evaluations = storage.get_latest_asset_check_execution_by_key(list(checks))
    return run_ids | {evaluation.run_id for evaluation in evaluations.values()}
