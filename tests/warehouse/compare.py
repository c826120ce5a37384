"""Two published warehouses, compared to the last row."""

from typing import Any

import duckdb

from pipelines.home.layout import Home
from pipelines.warehouse import models

# What belongs to one build and not to the data.
OF_THE_BUILD = {"meta_build": "build_id, built_at, is_full, previous_build_id, chain_head, chain_link_count"}


def differences(one: Home, other: Home) -> dict[str, Any]:
    """Per table what differs, columns, types, comments and repeated rows included; empty when nothing does."""
    found: dict[str, Any] = {}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{one.warehouse}' as a (read_only)")
        connection.execute(f"attach '{other.warehouse}' as b (read_only)")
        for model in models.load_models():
            shapes = [_shape(connection, database, model.name) for database in "ab"]
            if shapes[0] != shapes[1]:
                found[model.name] = shapes
                continue
            if model.refresh == "view":
                continue
            chosen = f"* exclude ({OF_THE_BUILD[model.name]})" if model.name in OF_THE_BUILD else "*"
            for here, there in ("ab", "ba"):
                rows = connection.execute(
                    f"select {chosen} from {here}.{model.name} except all select {chosen} from {there}.{model.name}"
                ).fetchall()
                if rows:
                    found[f"{model.name} only in {here}"] = rows[:5]
    return found


def _shape(connection: duckdb.DuckDBPyConnection, database: str, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select column_name, data_type, comment from duckdb_columns() "
        "where database_name = $1 and schema_name = 'main' and table_name = $2 order by column_index",
        [database, table],
    ).fetchall()
