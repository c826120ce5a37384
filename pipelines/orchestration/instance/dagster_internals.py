"""Everything that we use from inside Dagster. No other file, not even a test, imports a private module of Dagster.

Such names may change with any minor release, so pyproject.toml bounds Dagster's version from above. To raise the bound,
compare what is used here with the new release, and run tests/orchestration.

- The SQLite storage, its runs, schedules and event log, the name of the index, the busy time-out: `storage.py` keeps
  connections open and stores the events of a batch in one transaction. Where they are gone, dagster.yaml names
  Dagster's own storage, which is slower and reads the same files.
- `ConfigurableClassData`: the signature by which Dagster makes a storage that dagster.yaml names.
- The answer about a worker's health, and the question to a code server: `launcher.py` tells whether a run's process
  lives. Without them a run that was killed stays started.
- The metadata that a step has gathered: `add_partition_metadata` adds that of many partitions at once. Without it,
  `add_asset_metadata` does the same, partition by partition.
- The resolver of stale assets: tests ask whether Dagster calls an asset out of date.
"""

from collections.abc import Mapping
from typing import Any

from dagster import AssetExecutionContext, AssetKey
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, SqliteStorageConfig
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

__all__ = [
    "INDEX_SHARD_NAME",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "CachingStaleStatusResolver",
    "CanCancelExecutionRequest",
    "CanCancelExecutionResult",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DagsterSqliteStorage",
    "DagsterUserCodeUnreachableError",
    "LoadingContextForTest",
    "SqliteEventLogStorage",
    "SqliteRunStorage",
    "SqliteScheduleStorage",
    "SqliteStorageConfig",
    "StaleStatus",
    "WorkerStatus",
    "add_partition_metadata",
    "deserialize_value",
]


def add_partition_metadata(
    context: AssetExecutionContext, asset_key: AssetKey, metadata: Mapping[str, Mapping[str, Any]]
) -> None:
    """Add metadata to the materialisations of an asset's partitions in this run, by partition.

    Each call of `context.add_asset_metadata` lists the run's partitions, and copies all that was added before.
    """
    step = context.get_step_execution_context()
    held = step._metadata_accumulator.per_output_metadata  # pyright: ignore[reportPrivateUsage]
    handles = {key: AssetMetadataHandle(asset_key=asset_key, partition_key=key) for key in metadata}
    added = {handles[key]: {**held.get(handles[key], {}), **each} for key, each in metadata.items()}
    step._metadata_accumulator = OutputMetadataAccumulator(  # pyright: ignore[reportPrivateUsage]
        per_output_metadata={**held, **added}
    )
