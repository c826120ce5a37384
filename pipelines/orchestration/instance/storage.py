"""Dagster's SQLite storage with its connections kept open, and events of one batch written in one transaction.

Dagster makes an engine and a connection for every event that it stores and for everything that it asks of a run, and
waits for the disk after each event: about 15 ms for an event, 30 ms for a partition and asset. Files and tables are
Dagster's own, so its own storage reads them too.
"""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from dagster import DagsterEventType, EventLogEntry
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.event import listen

from pipelines.orchestration.instance.dagster_internals import (
    INDEX_SHARD_NAME,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
    SqliteStorageConfig,
)

# How many runs' files stay open in one process, besides the index: the run at work, and those that someone looks at.
_OPEN_SHARDS = 4

# Events that `store_event` only mirrors into the index.
_BATCHED = frozenset(
    {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION}
    | {DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
)


class PooledEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log, one file per run and one index, over connections that stay open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._known_tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        # One thread at a time, as in Dagster's storage. A transaction holds the lock to its end.
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.get(shard)
        if engine is None:
            engine = _engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        if len(self._engines) > _OPEN_SHARDS + 1:
            oldest = next(name for name in self._engines if name != INDEX_SHARD_NAME)
            self._engines.pop(oldest).dispose()
        return engine

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events of one run, the asset events among them in one transaction per file."""
        batched = [event for event in events if event.is_dagster_event and event.dagster_event_type in _BATCHED]
        for run_id in dict.fromkeys(event.run_id for event in batched):
            self._store_asset_events([event for event in batched if event.run_id == run_id], run_id)
        for event in events:
            if event not in batched:
                self.store_event(event)

    def _store_asset_events(self, events: Sequence[EventLogEntry], run_id: str) -> None:
        statements = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(run_id) as connection:
            for statement in statements:
                connection.execute(statement)
        # As in `store_event`: mirror the events into the index, which gives their ids, then note them at the asset.
        with self.index_connection() as connection:
            inserted = [connection.execute(statement).inserted_primary_key for statement in statements]
            event_ids = [cast(tuple[int], key)[0] for key in inserted]
            self._store_asset_event_tags(connection, events, event_ids)
            # Only the last event of each kind stays noted at its asset.
            last = {
                (event.get_dagster_event().asset_key, event.dagster_event_type): (event, event_id)
                for event, event_id in zip(events, event_ids, strict=True)
            }
            for event, event_id in last.values():
                self._store_asset_event(connection, event, event_id)

    def has_table(self, table_name: str) -> bool:
        # Dagster asks this for every event with tags. A table that exists stays.
        if table_name not in self._known_tables and super().has_table(table_name):
            self._known_tables.add(table_name)
        return table_name in self._known_tables

    def delete_events(self, run_id: str) -> None:
        """Delete a run's events and its file, which Dagster would leave behind empty."""
        super().delete_events(run_id)
        if (engine := self._engines.pop(run_id, None)) is not None:
            engine.dispose()
        self._initialized_dbs.discard(run_id)
        for suffix in ("", "-wal", "-shm"):
            Path(self.path_for_shard(run_id) + suffix).unlink(missing_ok=True)

    def dispose(self) -> None:
        super().dispose()
        while self._engines:
            self._engines.popitem()[1].dispose()


class PooledRunStorage(SqliteRunStorage):
    """Dagster's runs, over connections that stay open."""

    @cached_property
    def _pool(self) -> Engine:
        return _engine(self._conn_string)

    @contextmanager
    def connect(self) -> Generator[Connection]:
        with self._pool.begin() as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._pool.dispose()


class PooledSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage of runs, schedules and events, with open connections for runs and events."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # As Dagster's own does, which would open its own storages first, and look at their migrations.
        self.base_dir = base_dir
        self._run_storage = PooledRunStorage.from_local(str(Path(base_dir) / "history"))
        self._event_log_storage = PooledEventLogStorage(str(Path(base_dir) / "history" / "runs"))
        self._schedule_storage = SqliteScheduleStorage.from_local(str(Path(base_dir) / "schedules"))
        self._inst_data = inst_data
        super(DagsterSqliteStorage, self).__init__()

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: SqliteStorageConfig
    ) -> "PooledSqliteStorage":
        return cls.from_local(inst_data=inst_data, **config_value)


def _engine(url: str) -> Engine:
    """One connection that stays open. Synchronous NORMAL: a power cut may take the last events, never the file."""
    engine = create_engine(
        url, pool_size=1, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    )

    def on_connect(connection: Any, _: Any) -> None:
        connection.execute("pragma synchronous = normal")

    listen(engine, "connect", on_connect)
    return engine
