"""Everything that we use from inside Dagster. No other file, not even a test, imports a private module of Dagster.

Such names may change with any minor release, so pyproject.toml bounds Dagster's version from above. To raise the bound,
compare what is used here with the new release, and run tests/orchestration.

- The SQLite storage, its runs, schedules and event log, the name of the index, the busy time-out: `storage.py` keeps
  connections open and stores the events of a batch in one transaction. Where they are gone, dagster.yaml names
  Dagster's own storage, which is slower and reads the same files.
- `ConfigurableClassData`: the signature by which Dagster makes a storage that dagster.yaml names.
- The answer about a worker's health, and the question to a code server: `launcher.py` tells whether a run's process
  lives. Without them a run that was killed stays started.
- The resolver of stale assets: tests ask whether Dagster calls an asset out of date.
"""

from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.errors import DagsterUserCodeUnreachableError
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
    "deserialize_value",
]
