"""The lake: raw, flattened and deduplicated."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import raw
from assets.partitions import DAILY, ONE_RUN, clear_failures, column_schema, partitions_beside
from pipelines import steps
from pipelines.flatten.schema import LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS
from pipelines.schema import Table
from pipelines.settings import load_settings

EMBED_EVENTS = dg.AssetKey(["lake", "embed_events"])
VALIDATION_ERRORS = dg.AssetKey(["lake", "validation_errors"])

# Which count of a day's report is the row count of which table.
ROW_COUNTS = {EMBED_EVENTS: "event_count", VALIDATION_ERRORS: "validation_error_count"}


class FlattenConfig(dg.Config):
    """Days whose raw files changed are always flattened; `redo_partitions` redoes the run's partitions in any case."""

    redo_partitions: bool = True


def _spec(key: dg.AssetKey, table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[raw.EMBED_EVENTS],
        group_name="lake",
        kinds={"polars", "parquet"},
        description=table.description,
        metadata={"dagster/column_schema": column_schema(table)},
    )


@dg.multi_asset(
    name="lake",
    specs=[_spec(EMBED_EVENTS, LAKE_EMBED_EVENTS), _spec(VALIDATION_ERRORS, LAKE_VALIDATION_ERRORS)],
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
)
def lake(context: dg.AssetExecutionContext, config: FlattenConfig) -> Iterator[dg.MaterializeResult]:
    settings = load_settings()
    redo = list(context.partition_keys) if config.redo_partitions else []
    with clear_failures():
        report = steps.flatten(settings, on_wait=context.log.info, redo=redo)
    days = {day["event_date"]: day for day in report.days.to_dicts()}
    for asset_key, count in ROW_COUNTS.items():
        for key in context.partition_keys:
            if key in days:
                context.add_asset_metadata(_day_metadata(days[key], count), asset_key=asset_key, partition_key=key)
        for key in partitions_beside(context, set(days)):
            context.log_event(
                dg.AssetMaterialization(asset_key, partition=key, metadata=_day_metadata(days[key], count))
            )
        yield dg.MaterializeResult(
            asset_key=asset_key,
            metadata={"flattened_days": len(days), "rows_written": sum(day[count] for day in days.values())},
        )


def _day_metadata(day: dict[str, Any], count: str) -> dict[str, int]:
    return {
        "dagster/partition_row_count": day[count],
        **{name: day[name] for name in ("delivery_count", "merged_count", "quarantined_count", "conflict_count")},
    }
