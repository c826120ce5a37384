"""The units that a refresh has seen change: what it computes again, and what its checks look at.

A temp table per unit, `changed_<unit>`, holds the values. The values of NULL are noted beside it, since no join finds
them.
"""

import duckdb

from pipelines.warehouse.kinds import UNIT_TYPES
from pipelines.warehouse.literals import quoted

# A unit's values as numbers, so that the distance of two is known. Of a text it is not.
_NUMBERS = {"bigint": "{unit}::hugeint", "date": "({unit} - date '1970-01-01')::hugeint", "varchar": "0"}

# Changed values stand in ranges of their own where they are further apart than this share of all the way between them.
_FAR = 16


class Changes:
    """The changed values of every unit, on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._with_null: set[str] = set()
        self._ranges: dict[str, str] = {}
        for unit, dtype in UNIT_TYPES.items():
            connection.execute(f"create or replace temp table changed_{unit} ({unit} {dtype} primary key)")

    def add(self, unit: str, query: str, values: list[object] | None = None) -> None:
        """Note the values that a query answers in its only column, which may repeat them."""
        self._ranges.pop(unit, None)
        self.connection.execute(
            f"create or replace temp table noted as select distinct {unit} from ({query}) as answer({unit})", values
        )
        self.connection.execute(
            f"insert or ignore into temp.main.changed_{unit} from temp.main.noted where {unit} is not null"
        )
        if self.connection.execute(f"select 1 from temp.main.noted where {unit} is null").fetchone():
            self._with_null.add(unit)

    def predicate(self, unit: str) -> str:
        """The predicate for rows whose unit changed so far.

        It names the ranges of the changed values, too. DuckDB then passes over blocks of rows outside of them, however
        it orders the joins: it may well look the changed values up among a table's rows, and so read all of these.
        """
        is_changed = f"{unit} in (select {unit} from temp.main.changed_{unit})"
        if unit not in self._ranges:
            self._ranges[unit] = self._in_ranges(unit)
        if self._ranges[unit]:
            is_changed = f"({self._ranges[unit]}) and {is_changed}"
        return f"({unit} is null or {is_changed})" if unit in self._with_null else is_changed

    def _in_ranges(self, unit: str) -> str:
        """The condition for the ranges that hold all changed values, at most _FAR of them; empty if there are none."""
        dtype = UNIT_TYPES[unit]
        number = _NUMBERS[dtype].format(unit=unit)
        # As text, since Python knows no dates after the year 9999.
        ranges = self.connection.execute(f"""
            select min({unit})::varchar, max({unit})::varchar
            from (
                select {unit}, count(*) filter (distance * {_FAR} > whole_distance) over (order by {unit}) as number
                from (
                    select
                        {unit},
                        {number} - lag({number}) over (order by {unit}) as distance,
                        max({number}) over () - min({number}) over () as whole_distance
                    from temp.main.changed_{unit}
                )
            )
            group by number
            order by number
        """).fetchall()
        return " or ".join(
            f"{unit} between {quoted(first)}::{dtype} and {quoted(last)}::{dtype}" for first, last in ranges
        )
