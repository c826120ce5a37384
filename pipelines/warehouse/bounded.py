"""A full build within a bound of memory.

DuckDB spills to disk what does not fit its `memory_limit`, but joins and aggregates over all sessions of a large
account hold more than it can spill. So where the events are many for the limit, the models that are computed session
by session are made range by range of embed_id. The ranges are large, since each reads the events again, apart from
the blocks that have no row of it. A table is the same either way, and so is the order of its rows.
"""

from collections.abc import Mapping
from itertools import pairwise

import duckdb

from pipelines.settings import Settings
from pipelines.warehouse.model import Model
from pipelines.warehouse.tables import append, create_whole, shadowed, stored

UNIT = "embed_id"

# What fct_embeds holds per event at its peak, measured at 3,000,000 events; half of the limit is for everything else.
_BYTES_PER_EVENT = 350

# DuckDB does not count all that it takes: at 10,000,000 events a build's peak was 0.38 GB above its limit.
_MOST = 1_800_000_000


def memory_limit(connection: duckdb.DuckDBPyConnection, settings: Settings) -> int:
    """Bytes that a build may use. DuckDB's own default is 80 % of the memory that the machine or its container has."""
    if settings.embed_analytics_memory_limit is not None:
        return settings.embed_analytics_memory_limit
    row = connection.execute("select parse_formatted_bytes(current_setting('memory_limit'))").fetchone()
    return _MOST if row is None else min(_MOST, int(row[0] / 0.8 / 4))


def rows_at_once(limit: int) -> int:
    """How many events a model may read at once under a limit in bytes."""
    return max(1, limit // 2 // _BYTES_PER_EVENT)


def create_within(
    connection: duckdb.DuckDBPyConnection, model: Model, models: Mapping[str, Model], rows_at_once: int
) -> None:
    """Make the model's table from all of its inputs, in ranges where an input has more than `rows_at_once` rows."""
    bounds = _bounds(connection, model, models, rows_at_once) if model.kind.unit == UNIT else []
    if not bounds:
        create_whole(connection, model)
        return
    ranges = [
        f"({UNIT} is null or {UNIT} < {bounds[0]})",
        *(f"{UNIT} >= {start} and {UNIT} < {end}" for start, end in pairwise(bounds)),
        f"{UNIT} >= {bounds[-1]}",
    ]
    for number, predicate in enumerate(ranges):
        with shadowed(connection, model.depends_on, models, predicate):
            if number == 0:
                create_whole(connection, model)
            else:
                append(connection, model)


def _bounds(
    connection: duckdb.DuckDBPyConnection, model: Model, models: Mapping[str, Model], rows_at_once: int
) -> list[int]:
    """Values of embed_id that cut the rows of the model's largest input into parts of about `rows_at_once`."""
    # The rows of a table are counted without reading it. A model that reads views alone has nothing else to go by.
    tables = [name for name in model.depends_on if not models[name].kind.is_view]
    row_count, largest = max(
        ((_row_count(connection, name), name) for name in tables or model.depends_on), default=(0, "")
    )
    parts = -(-row_count // rows_at_once)
    if parts < 2:
        return []
    shares = [part / parts for part in range(1, parts)]
    row = connection.execute(f"select approx_quantile({UNIT}, {shares}) from {stored(largest)}").fetchone()
    return sorted(set(row[0])) if row and row[0] else []


def _row_count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {stored(table)}").fetchone()
    return row[0] if row else 0
