"""Makes the warehouse's tables from the models: the whole table, or the units that changed.

The same SELECT serves both. In a refresh, a temp view with the name of an input table shadows it and shows only the
rows of changed units; in a large full build, those of one range of units. So the model computes exactly these rows, and
its SQL need not know.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager

import duckdb

from pipelines.warehouse.literals import identifier, quoted
from pipelines.warehouse.model import Model
from pipelines.warehouse.sql_errors import blamed_on


def stored(name: str) -> str:
    """A table or view of the warehouse as SQL text, whatever shadows it."""
    return f"warehouse.main.{identifier(name)}"


def create_whole(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Make the model's table or view from all of its inputs."""
    kind = "view" if model.kind.is_view else "table"
    drop(connection, model.name)
    with blamed_on(model.file):
        connection.execute(f"create {kind} {stored(model.name)} as\n{model.sql}")


def append(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Add the rows that the model's SELECT gives now to its table."""
    with blamed_on(model.file):
        connection.execute(f"insert into {stored(model.name)}\n{model.sql}")


def drop(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Drop a model's table or view, if it exists. DuckDB refuses to drop or replace one kind as the other."""
    kinds = connection.execute(
        "select 'table' from duckdb_tables() where database_name = 'warehouse' and schema_name = 'main' "
        "and table_name = $1 union all "
        "select 'view' from duckdb_views() where database_name = 'warehouse' and schema_name = 'main' "
        "and view_name = $1",
        [name],
    ).fetchall()
    for (kind,) in kinds:
        connection.execute(f"drop {kind} {stored(name)}")


def create_incoming(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Create the temp table `incoming`, shaped like the model's table, with the rows that the SELECT gives now."""
    connection.execute(f"create or replace temp table incoming as from {stored(model.name)} limit 0")
    with blamed_on(model.file):
        connection.execute(f"insert into temp.main.incoming by name\n{model.sql}")


def replace_rows(connection: duckdb.DuckDBPyConnection, model: Model, replaced: str) -> None:
    """Replace the rows that a predicate names with those in `incoming`. The table keeps its comments."""
    connection.execute(f"delete from {stored(model.name)} where {replaced}")
    connection.execute(f"insert into {stored(model.name)} by name from temp.main.incoming")


@contextmanager
def shadowed(
    connection: duckdb.DuckDBPyConnection,
    tables: Iterable[str],
    models: Mapping[str, Model],
    predicate: str,
) -> Generator[None]:
    """While this is open, tables show only the rows that the predicate names. Views read the tables as shown."""
    shadows: list[str] = []

    def shadow(table: str) -> None:
        if table in shadows:
            return
        if models[table].kind.is_view:
            for name in models[table].depends_on:
                shadow(name)
            rows = models[table].sql
        else:
            rows = f"from {stored(table)} where {predicate}"
        connection.execute(f"create or replace temp view {identifier(table)} as\n{rows}")
        shadows.append(table)

    try:
        for table in tables:
            shadow(table)
        yield
    finally:
        for table in reversed(shadows):
            connection.execute(f"drop view temp.main.{identifier(table)}")


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Names of the columns of a table or view of the warehouse, in order."""
    described = connection.execute(f"from {stored(table)} limit 0").description
    return [column[0] for column in described or []]


def count_rows(connection: duckdb.DuckDBPyConnection, models: Iterable[Model]) -> dict[str, int]:
    """Row count of every table. Views are left out: they only show rows of tables."""
    counts: dict[str, int] = {}
    for model in models:
        if not model.kind.is_view:
            row = connection.execute(f"select count(*) from {stored(model.name)}").fetchone()
            counts[model.name] = row[0] if row else 0
    return counts


def comment(connection: duckdb.DuckDBPyConnection, models: Iterable[Model]) -> None:
    """COMMENT ON every table and column from the SQL's own comments, where the comment has changed."""
    held = dict(
        connection.execute("""
            select table_name, comment from duckdb_tables() where database_name = 'warehouse' and schema_name = 'main'
            union all
            select view_name, comment from duckdb_views() where database_name = 'warehouse' and schema_name = 'main'
        """).fetchall()
    )
    held_columns = {
        (table, column): text
        for table, column, text in connection.execute(
            "select table_name, column_name, comment from duckdb_columns() "
            "where database_name = 'warehouse' and schema_name = 'main' order by column_index"
        ).fetchall()
    }
    claim_docs = _claim_column_docs(connection)
    for model in models:
        if held[model.name] != model.description:
            kind = "view" if model.kind.is_view else "table"
            connection.execute(f"comment on {kind} {stored(model.name)} is {quoted(model.description)}")
        for (table, column), text in held_columns.items():
            if table == model.name:
                doc = model.columns[column] if column in model.columns else claim_docs[column]
                if text != doc:
                    connection.execute(f"comment on column {stored(table)}.{identifier(column)} is {quoted(doc)}")


class _ClaimDocs(dict[str, str]):
    """Documents a claim column that is not in the catalogue by its own name."""

    def __missing__(self, column: str) -> str:
        return f"claim {column.removeprefix('claim_')} of the JWT payload"


def _claim_column_docs(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute("select column_name, path from source.claims where is_column").fetchall()
    return _ClaimDocs({column: f"claim {path} of the JWT payload" for column, path in rows})
