"""Making the warehouse's tables from the models: whole, or the units that changed.

The same SELECT serves both. In a refresh a temp view named like an input table shadows it and shows only the rows of the
changed units, so the model computes exactly those rows again and knows nothing of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import duckdb

from pipelines.warehouse.models import Model
from pipelines.warehouse.sources import quoted

UNITS = ("lake_partition", "embed_id", "event_date", "entry_date")


def create_whole(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Make the model's table, or view, from all of its inputs."""
    kind = "view" if model.refresh == "view" else "table"
    connection.execute(f"create or replace {kind} warehouse.main.{model.name} as\n{model.sql}")


def create_incoming(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """A temp table `incoming` in the shape of the model's table, with what the SELECT answers now."""
    connection.execute(f"create or replace temp table incoming as from warehouse.main.{model.name} limit 0")
    connection.execute(f"insert into temp.main.incoming by name\n{model.sql}")


def replace_units(connection: duckdb.DuckDBPyConnection, model: Model, unit: str) -> None:
    """Replace the rows of the units in `changed_<unit>` by what `incoming` holds."""
    connection.execute(f"delete from warehouse.main.{model.name} where {in_changed(unit)}")
    connection.execute(f"insert into warehouse.main.{model.name} by name from temp.main.incoming")


def in_changed(unit: str) -> str:
    """The predicate of rows whose unit changed. A NULL unit does not occur: units are required columns."""
    return f"{unit} in (select {unit} from temp.main.changed_{unit})"


@contextmanager
def shadowed(connection: duckdb.DuckDBPyConnection, tables: Iterable[str], unit: str) -> Iterator[None]:
    """While inside, the tables that have the unit's column show only the rows of changed units."""
    shadows = [table for table in tables if unit in columns_of(connection, table)]
    for table in shadows:
        connection.execute(
            f"create or replace temp view {table} as from warehouse.main.{table} where {in_changed(unit)}"
        )
    try:
        yield
    finally:
        for table in shadows:
            connection.execute(f"drop view temp.main.{table}")


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Names of the columns of a table or view of the warehouse, in order."""
    rows = connection.execute(
        "select column_name from duckdb_columns() "
        "where database_name = 'warehouse' and schema_name = 'main' and table_name = $1 order by column_index",
        [table],
    ).fetchall()
    return [name for (name,) in rows]


def count_rows(connection: duckdb.DuckDBPyConnection, models: Iterable[Model]) -> dict[str, int]:
    """Rows of every table; a view has as many as what it shows, and is not counted."""
    counts: dict[str, int] = {}
    for model in models:
        if model.refresh != "view":
            row = connection.execute(f"select count(*) from warehouse.main.{model.name}").fetchone()
            counts[model.name] = row[0] if row else 0
    return counts


def comment(connection: duckdb.DuckDBPyConnection, model: Model, claim_docs: Mapping[str, str]) -> None:
    """COMMENT ON the table and each of its columns, from the SQL's own comments."""
    kind = "view" if model.refresh == "view" else "table"
    name = f"warehouse.main.{model.name}"
    connection.execute(f"comment on {kind} {name} is {quoted(model.description)}")
    docs = {**model.columns, **claim_docs} if model.has_claim_columns else model.columns
    for column in columns_of(connection, model.name):
        connection.execute(f"comment on column {name}.{column} is {quoted(docs[column])}")


def claim_column_docs(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What stands in each claim column, from the catalogue of claims."""
    rows = connection.execute("select column_name, path from source.claims where is_column").fetchall()
    docs = {"claim_user_id": "claim user_id of the JWT payload"}
    return docs | {column: f"claim {path} of the JWT payload" for column, path in rows}
