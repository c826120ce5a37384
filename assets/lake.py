"""The lake: raw, flattened and deduplicated."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets import raw
from assets.failures import clear_failures
from assets.metadata import MaterializeResult, file_table
from assets.partitions import ONE_RUN, partitions_beside
from assets.run_end import end_run
from assets.upkeep import freshness_of, tags_of
from pipelines import steps
from pipelines.home.layout import Home
from pipelines.orchestration.file_tables import file_tables, flatten_version
from pipelines.orchestration.jobs import LAKE_STEP
from pipelines.orchestration.progress import line_sink
from pipelines.settings import Settings

EMBED_EVENTS = dg.AssetKey(["lake", "embed_events"])
VALIDATION_ERRORS = dg.AssetKey(["lake", "validation_errors"])

# The count in a day's report that is the row count of each table.
ROW_COUNTS = {EMBED_EVENTS: "event_count", VALIDATION_ERRORS: "validation_error_count"}

FLATTEN = Path(steps.__file__).parent / "flatten"
CODE = (
    ("the asset", Path(__file__)),
    ("the flattening", FLATTEN / "days.py"),
    ("the columns", FLATTEN / "lake_tables.py"),
)

# The origins of lake columns that have another name in raw.
ORIGINS = {
    "occurred_at": "created_at",
    "event_date": "created_at",
    "landed_at": "fetched_at",
    "claim_user_id": "claims",
    **dict.fromkeys(("operation", "import_type", "has_error_counts", "has_unreadable_error_counts"), "data"),
    **dict.fromkeys(("column_key", "error_code", "error_count"), "data"),
}


class FlattenConfig(dg.Config):
    """Days whose raw files changed are always flattened. With `redo_partitions`, all of the run's partitions are."""

    redo_partitions: bool = True


def build_lake(settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """Both tables of the lake, made by one step."""

    @dg.multi_asset(
        name=LAKE_STEP,
        specs=[_spec(EMBED_EVENTS, settings), _spec(VALIDATION_ERRORS, settings)],
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
    )
    def lake(context: dg.AssetExecutionContext, config: FlattenConfig) -> Iterator[MaterializeResult]:
        """Flattens both tables. A day's files belong together, so no run makes only one of them."""
        redo = list(context.partition_keys) if config.redo_partitions else []
        with clear_failures(context):
            report = steps.flatten(settings, on_wait=line_sink(context.log.info), redo=redo)
        redone = {day["event_date"]: day for day in report.days.to_dicts()}
        beside = partitions_beside(context, redone)
        for asset_key in ROW_COUNTS:
            _record(context, settings.home, asset_key, redone, beside)
            rows = sum(day[ROW_COUNTS[asset_key]] for day in redone.values())
            metadata = {"flattened_days": len(redone), "rows_written": rows}
            yield MaterializeResult(asset_key=asset_key, metadata=metadata)
        end_run(context, settings.home)

    return lake


def _code_version(settings: Settings) -> str:
    choice = [
        settings.embed_analytics_claim_column_limit,
        sorted(settings.embed_analytics_claim_types.items()),
        settings.embed_analytics_column_key_limit,
    ]
    return f"{flatten_version()} {json.dumps(choice)}"


def _spec(key: dg.AssetKey, settings: Settings) -> dg.AssetSpec:
    table = file_tables()[key.to_user_string()]
    return dg.AssetSpec(
        key,
        deps=[raw.EMBED_EVENTS],
        group_name="lake",
        kinds={"polars", "parquet"},
        description=table.description,
        metadata=file_table(table, *CODE),
        owners=[settings.embed_analytics_owner],
        tags=tags_of("lake"),
        freshness_policy=freshness_of(settings),
        code_version=_code_version(settings),
    )


def _record(
    context: dg.AssetExecutionContext,
    home: Home,
    asset_key: dg.AssetKey,
    redone: dict[str, dict[str, Any]],
    beside: list[str],
) -> None:
    """Tell Dagster about the run's partitions of a table, and about others that were flattened with them."""
    from pipelines.orchestration.instance.dagster_internals import add_partition_metadata

    metadata = _metadata_by_day(home, asset_key, redone, list(context.partition_keys))
    for key in beside:
        context.log_event(dg.AssetMaterialization(asset_key, partition=key, metadata=metadata[key]))
    # Only once per run, because each partition's event stays in the event log.
    last = context.partition_keys[-1]
    metadata[last] |= _table_metadata(home, asset_key, last)
    add_partition_metadata(context, asset_key, {key: metadata[key] for key in context.partition_keys})


def _metadata_by_day(
    home: Home, asset_key: dg.AssetKey, redone: dict[str, dict[str, Any]], partition_keys: list[str]
) -> dict[str, dict[str, Any]]:
    """The metadata of each day that was flattened, and of each partition of the run."""
    from pipelines.orchestration.presentation import row_counts

    folder = home.lake_embed_events if asset_key == EMBED_EVENTS else home.lake_validation_errors
    clean = row_counts(folder, (key for key in partition_keys if key not in redone))
    metadata: dict[str, dict[str, Any]] = {key: {"dagster/partition_row_count": count} for key, count in clean.items()}
    for key, day in redone.items():
        counts = ("delivery_count", "merged_count", "quarantined_count", "conflict_count")
        metadata[key] = {
            "dagster/partition_row_count": day[ROW_COUNTS[asset_key]],
            **{name: day[name] for name in counts},
        }
    return metadata


def _table_metadata(home: Home, asset_key: dg.AssetKey, last: str) -> dict[str, Any]:
    from pipelines.orchestration.presentation import events_chart

    lineage = {
        name: [dg.TableColumnDep(asset_key=raw.EMBED_EVENTS, column_name=ORIGINS.get(name, name))]
        for name in file_tables()[asset_key.to_user_string()].names
    }
    metadata: dict[str, Any] = {"dagster/column_lineage": dg.TableColumnLineage(lineage)}
    chart = events_chart(home, last) if asset_key == EMBED_EVENTS else None
    return metadata | ({"events": dg.MetadataValue.md(chart)} if chart else {})
