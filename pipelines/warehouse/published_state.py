"""What a published warehouse records for the next build (schema `builder`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import polars as pl

from pipelines.home.layout import Home
from pipelines.warehouse import ledger
from pipelines.warehouse.frames import shown
from pipelines.warehouse.ledger import Ledger
from pipelines.warehouse.published import connect_published

# Raise this when a change to the builder alters its result and no model's own version shows it.
BUILDER_VERSION = 1

# Per row, a file may grow to this many times its size when last written from nothing, plus the allowance.
_GROWTH_LIMIT = 1.5
_GROWTH_ALLOWANCE = 16 * 2**20


@dataclass(frozen=True)
class PublishedState:
    """The build behind the published file: what it read, with which models and settings, and how big it was."""

    build_id: str
    data_through: datetime | None
    ledger: Ledger
    model_versions: Mapping[str, str]
    builder_version: int
    fresh_bytes: int
    fresh_rows: int
    staged_rows: int
    file_bytes: int

    @property
    def is_bloated(self) -> bool:
        """Replaced rows have left so much unused space that the next build should write the file anew."""
        growth = max(1.0, self.staged_rows / max(1, self.fresh_rows))
        return self.file_bytes > self.fresh_bytes * growth * _GROWTH_LIMIT + _GROWTH_ALLOWANCE


def read_published(home: Home) -> PublishedState | None:
    """The state of the published warehouse. None when there is no warehouse, or it has no complete state."""
    if not home.warehouse.exists():
        return None
    with connect_published(home) as connection:
        return read(connection, home.warehouse.stat().st_size)


def read(connection: duckdb.DuckDBPyConnection, file_bytes: int) -> PublishedState | None:
    """The state of the file of this size that is attached as `warehouse`; None when it has no complete state."""
    known = connection.execute(
        "select count(*) from duckdb_tables() where database_name = 'warehouse' and schema_name = 'builder'"
    ).fetchone()
    if known is None or known[0] < 3:
        return None
    row = connection.execute(
        "select build_id, data_through, builder_version, fresh_bytes, fresh_rows, (select count(*) from "
        "warehouse.main.stg_embed_events) from warehouse.builder.state cross join warehouse.main.meta_build"
    ).fetchone()
    if row is None:
        return None
    versions = dict(connection.execute("select name, version from warehouse.builder.models").fetchall())
    return PublishedState(
        build_id=row[0],
        data_through=row[1],
        ledger=ledger.read(connection),
        model_versions=versions,
        builder_version=row[2],
        fresh_bytes=row[3],
        fresh_rows=row[4],
        staged_rows=row[5],
        file_bytes=file_bytes,
    )


def write(connection: duckdb.DuckDBPyConnection, read: Ledger, versions: Mapping[str, str]) -> None:
    """Record what this build read and with which models."""
    connection.execute("create schema if not exists warehouse.builder")
    ledger.write(connection, read)
    frame = pl.DataFrame({"name": list(versions), "version": list(versions.values())})
    with shown(connection, "model_versions", frame):
        connection.execute("create or replace table warehouse.builder.models as select * from model_versions")


def write_fresh_size(connection: duckdb.DuckDBPyConnection) -> None:
    """Record the size of a file that was written anew. The file must have been checkpointed."""
    connection.execute(f"""
        create or replace table warehouse.builder.state as
        select
            {BUILDER_VERSION} as builder_version,
            (
                select used_blocks * block_size from pragma_database_size() where database_name = 'warehouse'
            ) as fresh_bytes,
            (select count(*) from warehouse.main.stg_embed_events) as fresh_rows
    """)
