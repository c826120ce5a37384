"""Brings a copy of the published warehouse up to date, computing only what changed.

Four temp tables, `changed_<unit>`, say what changed. Lake partitions come from the ledger. Embeds and event dates come
from comparing the held rows of those partitions with the new rows. More embeds come from the API's list and from the
passing of time. Entry dates come from the embeds. Then each model that depends on a changed unit is refreshed.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import duckdb

from pipelines.home.times import PLAUSIBLE_AHEAD
from pipelines.warehouse.models import Model, load_models
from pipelines.warehouse.tables import (
    UNITS,
    create_incoming,
    create_whole,
    in_changed,
    replace_units,
    replace_whole,
    shadowed,
)

_UNIT_TYPES = {"lake_partition": "varchar", "embed_id": "bigint", "event_date": "date", "entry_date": "date"}


def begin(connection: duckdb.DuckDBPyConnection, lake_partitions: Iterable[str]) -> None:
    """Create the tables of changed units, and fill the one of lake partitions."""
    for unit in UNITS:
        connection.execute(f"create or replace temp table changed_{unit} ({unit} {_UNIT_TYPES[unit]} primary key)")
    connection.execute(
        "insert into temp.main.changed_lake_partition select unnest($1::varchar[])", [sorted(lake_partitions)]
    )


def refresh_staging(connection: duckdb.DuckDBPyConnection, models: Iterable[Model]) -> None:
    """Replace the changed lake partitions, add new observations of embeds and sweeps, and note which embeds and dates
    changed."""
    for model in models:
        create_incoming(connection, model)
        if model.refresh == "lake_partition":
            if {"embed_id", "event_date"} <= model.columns.keys():
                _note_changed_rows(connection, model)
            replace_units(connection, model, "lake_partition")
        else:
            _merge(connection, model)


def _note_changed_rows(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Note the embeds and dates whose rows differ. One new event replaces a whole partition but changes few of them."""

    def digests(rows: str) -> str:
        return f"""
            select embed_id, event_date, sum(hash(row_digest)::hugeint) as digest, count(*) as row_count
            from (select embed_id, event_date, hash(held) as row_digest from {rows}) group by all
        """

    held = f"(select * from warehouse.main.{model.name} where {in_changed('lake_partition')}) as held"
    connection.execute(f"""
        create or replace temp table changed_rows as
        select embed_id, event_date
        from ({digests(held)}) as held
        full join ({digests("temp.main.incoming as held")}) as fresh using (embed_id, event_date)
        where held.digest is distinct from fresh.digest or held.row_count is distinct from fresh.row_count
    """)
    _add(connection, "embed_id", "select embed_id from temp.main.changed_rows")
    _add(connection, "event_date", "select event_date from temp.main.changed_rows")


def _merge(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    key = model.grain[0]
    if key == "embed_id":
        # Only the columns that fct_embeds shows change an embed; it shows fetched_at as delivery_at.
        _add(
            connection,
            "embed_id",
            f"""
            select incoming.embed_id
            from temp.main.incoming
            left join warehouse.main.{model.name} as held using (embed_id)
            where (incoming.status, incoming.imported_row_count, incoming.fetched_at)
                is distinct from (held.status, held.imported_row_count, held.fetched_at)
            """,
        )
    connection.execute(f"delete from warehouse.main.{model.name} where {key} in (select {key} from temp.main.incoming)")
    connection.execute(f"insert into warehouse.main.{model.name} by name from temp.main.incoming")


def note_passed_time(connection: duckdb.DuckDBPyConnection, before: datetime, stale: Collection[str]) -> None:
    """Note what has changed by the passing of time, from `before` to the data_through in source.parameters.

    These are the embeds and dates of events that became plausible, the embeds that are no longer open, and the cohorts
    whose window closed. Units of a model in `stale` are not noted: it is made from nothing anyway.
    """
    newly_plausible = (
        "from warehouse.main.stg_embed_events cross join source.parameters "
        "where occurred_at > $1 and occurred_at <= plausible_until"
    )
    for unit in ("embed_id", "event_date"):
        _add(connection, unit, f"select {unit} {newly_plausible}", [before + PLAUSIBLE_AHEAD])
    if "fct_embeds" in stale:
        return
    _add(
        connection,
        "embed_id",
        "select embed_id from warehouse.main.fct_embeds cross join source.parameters "
        "where outcome = 'open' and last_event_at < parameters.data_through - idle_after",
    )
    # A cohort's open_count depends on entry_at, its is_mature on the end of entry_date.
    _add(
        connection,
        "entry_date",
        "select entry_date from warehouse.main.fct_embeds cross join source.parameters "
        "where entry_at > $1 - funnel_window and entry_at <= parameters.data_through - funnel_window",
        [before],
    )
    _add(
        connection,
        "entry_date",
        "select entry_date from warehouse.main.fct_embed_funnel_daily cross join source.parameters "
        "where entry_date + interval 1 day > $1 - funnel_window "
        "and entry_date + interval 1 day <= parameters.data_through - funnel_window",
        [before],
    )


def refresh_models(
    connection: duckdb.DuckDBPyConnection,
    models: Iterable[Model],
    stale: Collection[str],
) -> None:
    """Compute the changed units again, and make stale models and `whole` models from nothing."""
    known = {model.name: model for model in load_models()}
    for model in models:
        if model.name in stale:
            create_whole(connection, model)
        elif model.refresh == "whole":
            replace_whole(connection, model)
        elif model.refresh != "view":
            _refresh_units(connection, model, known, model.refresh)


def _refresh_units(connection: duckdb.DuckDBPyConnection, model: Model, models: Mapping[str, Model], unit: str) -> None:
    # Both the cohorts that embeds leave and those that they join have changed.
    has_cohorts = "entry_date" in model.columns and unit == "embed_id"
    if has_cohorts:
        _note_entry_dates(connection)
    with shadowed(connection, model.depends_on, models, unit):
        create_incoming(connection, model)
    replace_units(connection, model, unit)
    if has_cohorts:
        _note_entry_dates(connection)


def _note_entry_dates(connection: duckdb.DuckDBPyConnection) -> None:
    _add(
        connection,
        "entry_date",
        f"select entry_date from warehouse.main.fct_embeds where {in_changed('embed_id')}",
    )


def _add(connection: duckdb.DuckDBPyConnection, unit: str, query: str, values: list[object] | None = None) -> None:
    # A session without a plausible time belongs to no cohort.
    connection.execute(
        f"insert or ignore into temp.main.changed_{unit} select distinct * from ({query}) where {unit} is not null",
        values or [],
    )
