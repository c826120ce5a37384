"""The schema `source` that models read: the lake, raw and the settings, as views and small tables.

`source` is an in-memory database attached beside the warehouse, so the published file holds nothing of it. In a refresh
its views show only what changed, and the models do not notice.
"""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

import duckdb
import polars as pl

from pipelines.flatten.lake_tables import FOLDER_COLUMN, LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS, QUARANTINE
from pipelines.home.layout import NO_DATE, UNKNOWN_DATE, Home
from pipelines.home.permissions import is_open_to_others
from pipelines.home.tables import Table
from pipelines.home.times import PLAUSIBLE_FROM
from pipelines.oneschema.vocabulary import (
    EMBED_STATUSES,
    EVENT_TYPES,
    FUNNEL_STEPS,
    TRIGGER_TYPES,
    EmbedStatus,
    FunnelStep,
)
from pipelines.raw import claim_patterns as policy_patterns
from pipelines.raw.raw_tables import RAW_EMBEDS, RAW_SWEEPS
from pipelines.raw.webhook_gaps import RAW_WEBHOOK_GAPS
from pipelines.settings import Settings
from pipelines.warehouse.claim_settings import claim_patterns
from pipelines.warehouse.frames import shown
from pipelines.warehouse.ledger import Kind, Ledger, SourceFile
from pipelines.warehouse.literals import identifier, quoted, without_wildcards
from pipelines.warehouse.parameters import PARAMETERS, Parameters

# This claim is always a column, even if no token carried it.
USER_ID_COLUMN = "claim_user_id"

_DUCKDB_TYPES: dict[type[pl.DataType], str] = {
    pl.String: "varchar",
    pl.Int64: "bigint",
    pl.Float64: "double",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "timestamp",
}


@dataclass(frozen=True)
class BuildFacts:
    """The one row of source.build: facts that only the builder knows. `built_at` is naive UTC. The chain's are None
    where its end cannot be read."""

    build_id: str
    built_at: datetime
    code_version: str
    is_full: bool
    previous_build_id: str | None
    chain_link_count: int | None
    chain_head: str | None


def read_catalogues(home: Home) -> tuple[pl.DataFrame, pl.DataFrame]:
    """LAKE_DAYS and CLAIMS_CATALOGUE of the lake."""
    from pipelines.flatten.days import catalogues

    return catalogues(home)


def attach(connection: duckdb.DuckDBPyConnection) -> None:
    """Attach the empty schema `source` and fill it with the vendor's vocabulary."""
    connection.execute("attach ':memory:' as source")
    _create_table(connection, "event_types", {"event_type": EVENT_TYPES.keys(), "description": EVENT_TYPES.values()})
    _create_table(connection, "trigger_types", {"trigger_type": TRIGGER_TYPES.keys()})
    create_from_frame(connection, "funnel_steps", pl.DataFrame(FUNNEL_STEPS, FunnelStep._fields, orient="row"))
    create_from_frame(connection, "embed_statuses", pl.DataFrame(EMBED_STATUSES, EmbedStatus._fields, orient="row"))


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, Iterable[object]]) -> None:
    create_from_frame(connection, name, pl.DataFrame({column: list(values) for column, values in columns.items()}))


def create_from_frame(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    """source.<name> with the rows of a frame, in the warehouse's types."""
    with shown(connection, "source_frame", frame):
        connection.execute(f"create or replace table source.{name} as select * from source_frame")


def create_lake(
    connection: duckdb.DuckDBPyConnection, home: Home, ledger: Ledger, lake_partitions: Iterable[str] | None
) -> None:
    """source.embed_events, .validation_errors and .quarantine over these partitions of the lake, or all if None."""
    wanted = None if lake_partitions is None else frozenset(lake_partitions)

    def chosen(kind: Kind) -> list[SourceFile]:
        return [file for file in ledger.files(kind) if wanted is None or file.lake_partition in wanted]

    events = chosen("lake_events")
    present = {name for file in events for name, _ in ledger.claim_types[file]}
    claims = {name: name if name in present else f"null::varchar as {name}" for name in ledger.claim_columns}
    claims.setdefault(USER_ID_COLUMN, f"null::varchar as {USER_ID_COLUMN}")
    claim_columns = [claims[name] for name in sorted(claims)]
    _create_view(connection, home, "embed_events", LAKE_EMBED_EVENTS, events, claim_columns, with_lake_partition=True)
    errors = chosen("lake_errors")
    _create_view(connection, home, "validation_errors", LAKE_VALIDATION_ERRORS, errors, with_lake_partition=True)
    _create_view(connection, home, "quarantine", QUARANTINE, chosen("quarantine"))


def create_raw(connection: duckdb.DuckDBPyConnection, home: Home, files: list[SourceFile]) -> None:
    """source.embeds, source.sweeps and source.webhook_gaps over these files."""
    for table, kind in ((RAW_EMBEDS, "embeds"), (RAW_SWEEPS, "sweeps"), (RAW_WEBHOOK_GAPS, "webhook_gaps")):
        chosen = [file for file in files if file.kind == kind]
        _create_view(connection, home, f"new_{table.name}", table, chosen, is_grown=True)
        connection.execute(f"create or replace view source.{table.name} as from source.new_{table.name}")


def show_held(connection: duckdb.DuckDBPyConnection, source: str, table: str, key: Iterable[str]) -> None:
    """Have source.embeds or its like show the rows that a table holds of the new rows' keys as well.

    The one to pick is among them, so old files need not be read again.
    """
    key = ", ".join(map(identifier, key))
    connection.execute(f"""
        create or replace view source.{source} as
        from source.new_{source}
        union all by name
        from warehouse.main.{identifier(table)} where ({key}) in (select ({key}) from source.new_{source})
    """)


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    name: str,
    table: Table,
    files: list[SourceFile],
    claim_columns: list[str] | None = None,
    *,
    with_lake_partition: bool = False,
    is_grown: bool = False,
) -> None:
    """A view of these files. With `is_grown`, all of them may be older than a column, which is then NULL."""
    typed = ", ".join(f"null::{duckdb_type(column.dtype)} as {column.name}" for column in table.columns)
    if not files:
        columns = [typed]
        columns += [f"null::varchar as {claim.rsplit(' ', 1)[-1]}" for claim in claim_columns or []]
        columns += ["null::varchar as lake_partition"] if with_lake_partition else []
        connection.execute(f"create or replace view source.{name} as select {', '.join(columns)} where false")
        return
    columns = [*table.names, *(claim_columns or [])]
    if with_lake_partition:
        columns[columns.index(FOLDER_COLUMN)] = f"occurred_at::date as {FOLDER_COLUMN}"
        folder = f"regexp_extract(filename, '{FOLDER_COLUMN}=([^/]+)/[^/]*$', 1)"
        columns.append(f"replace({folder}, '{NO_DATE}', '{UNKNOWN_DATE}') as lake_partition")
    paths = ", ".join(quoted(without_wildcards(home.root / file.path)) for file in files)
    rows = f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false, filename = true)"
    if is_grown:
        rows = f"(from {rows} union all by name select {typed} where false)"
    connection.execute(f"create or replace view source.{name} as select {', '.join(columns)} from {rows}")


def create_catalogues(connection: duckdb.DuckDBPyConnection, home: Home, lake_partitions: Iterable[str] | None) -> None:
    """source.days of these lake partitions (all of them if None), and source.claims."""
    days, claims = read_catalogues(home)
    if lake_partitions is not None:
        days = days.filter(pl.col("event_date").is_in(list(lake_partitions)))
    create_from_frame(connection, "days", days)
    create_from_frame(connection, "claims", claims)


def create_parameters(connection: duckdb.DuckDBPyConnection, parameters: Parameters) -> None:
    """source.parameters."""
    columns = [
        "$1::timestamp as data_through",
        "$2::timestamp as plausible_from",
        "coalesce($3::timestamp, 'infinity') as plausible_until",
    ]
    columns += [f"${number}::{each.duckdb_type} as {each.name}" for number, each in enumerate(PARAMETERS, 4)]
    connection.execute(
        f"create or replace table source.parameters as select {', '.join(columns)}",
        [
            parameters.data_through,
            PLAUSIBLE_FROM,
            parameters.plausible_until,
            *(parameters.settings[each.name] for each in PARAMETERS),
        ],
    )


def create_build(connection: duckdb.DuckDBPyConnection, facts: BuildFacts, table_rows: Mapping[str, int]) -> None:
    """source.build and source.table_rows."""
    connection.execute(
        "create or replace table source.build as select $1::varchar as build_id, $2::timestamp as built_at, "
        "$3::varchar as code_version, $4::boolean as is_full, $5::varchar as previous_build_id, "
        "$6::bigint as chain_link_count, $7::varchar as chain_head",
        [getattr(facts, field.name) for field in fields(BuildFacts)],
    )
    rows = pl.DataFrame(
        {"table_name": list(table_rows), "row_count": list(table_rows.values())},
        schema={"table_name": pl.String, "row_count": pl.Int64},
    )
    create_from_frame(connection, "table_rows", rows)


def create_home(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """source.home: the folder's permissions."""
    connection.execute(
        "create or replace table source.home as "
        "select $1::varchar as path, $2::varchar as mode, $3::boolean as is_open_to_others",
        [str(home.root), f"{stat.S_IMODE(home.root.stat().st_mode):04o}", is_open_to_others(home)],
    )


def create_claim_patterns(connection: duckdb.DuckDBPyConnection, home: Home, settings: Settings) -> None:
    """source.claim_patterns: CLAIM_PATTERNS, from source.claims and what the reading of tokens noted."""
    paths = [path for (path,) in connection.execute("select path from source.claims").fetchall()]
    frame = claim_patterns(settings, paths, policy_patterns.read(home))
    create_from_frame(connection, "claim_patterns", frame)


def create_raw_deliveries(connection: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """source.raw_deliveries: deliveries in raw by lake_partition, counted from the files themselves."""
    counts = ledger.raw_deliveries()
    frame = pl.DataFrame(
        {"lake_partition": list(counts), "delivery_count": list(counts.values())},
        schema={"lake_partition": pl.String, "delivery_count": pl.Int64},
    )
    create_from_frame(connection, "raw_deliveries", frame)


def create_damaged_raw_files(connection: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """source.damaged_raw_files: what this build left out of raw, and why."""
    rows = [(file.lake_partition, file.path, damage.reason) for file, damage in ledger.damages.items()]
    schema = {"lake_partition": pl.String, "path": pl.String, "reason": pl.String}
    create_from_frame(connection, "damaged_raw_files", pl.DataFrame(rows, schema=schema, orient="row"))


def duckdb_type(dtype: pl.DataType) -> str:
    """The warehouse's type for a Polars type of the layers' schemas."""
    return _DUCKDB_TYPES[type(dtype)]
