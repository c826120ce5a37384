"""The units that a refresh has seen change: what it computes again, and what its checks look at.

A temp table per unit, `changed_<unit>`, holds the values. The values of NULL are noted beside it, since no join finds
them.
"""

import duckdb

from pipelines.warehouse.kinds import UNIT_TYPES


class Changes:
    """The changed values of every unit, on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._with_null: set[str] = set()
        for unit, dtype in UNIT_TYPES.items():
            connection.execute(f"create or replace temp table changed_{unit} ({unit} {dtype} primary key)")

    def add(self, unit: str, query: str, values: list[object] | None = None) -> None:
        """Note the values that a query answers in its only column, which may repeat them."""
        self.connection.execute(
            f"create or replace temp table noted as select distinct {unit} from ({query}) as answer({unit})", values
        )
        self.connection.execute(
            f"insert or ignore into temp.main.changed_{unit} from temp.main.noted where {unit} is not null"
        )
        if self.connection.execute(f"select 1 from temp.main.noted where {unit} is null").fetchone():
            self._with_null.add(unit)

    def predicate(self, unit: str) -> str:
        """The predicate for rows whose unit changed."""
        is_changed = f"{unit} in (select {unit} from temp.main.changed_{unit})"
        return f"({unit} is null or {is_changed})" if unit in self._with_null else is_changed
