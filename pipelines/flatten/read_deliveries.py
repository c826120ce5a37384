"""From raw rows to deliveries that have been read: typed values for the row, issues for the quarantine.

Plain rows are read by Polars alone. A row with `odd` values costs a few microseconds of Python and the others nothing.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines.home.tables import TIMESTAMP
from pipelines.oneschema.json_text import dumps, loads
from pipelines.oneschema.reading import EXACT_FROM_SECONDS, FIELDS, Unreadable, microseconds

Issue = tuple[int, str, str, str]
"""A value that could not be read: number of its delivery, field, reason, the value as JSON."""

REQUIRED = [field.column for field in FIELDS if field.required]

# Values that are of the documented type and yet have to be looked at one by one.
_LOOKED_AT = {"uuid": "event_uuid", "event_type": "event_type", "created_at": "created_at"}


@dataclass(frozen=True)
class Deliveries:
    """`delivery` numbers the rows of raw; `occurred_at` is the `created_at` that was read."""

    accepted: pl.DataFrame
    """Deliveries with everything that a row needs: RAW_EMBED_EVENTS and `delivery`, `occurred_at`."""
    rejected: pl.DataFrame
    """The others, with the same columns; what could not be read is NULL."""
    issues: list[Issue]


def read_deliveries(raw: pl.DataFrame) -> Deliveries:
    """Reads rows of RAW_EMBED_EVENTS: odd values where they can be, the rest as it stands."""
    rows = raw.with_row_index("delivery").with_columns(microseconds(pl.col("created_at")).alias("occurred_at"))
    created_at = pl.col("created_at")
    is_slow = pl.any_horizontal(
        pl.col("odd").is_not_null(),
        created_at.is_not_null() & pl.col("occurred_at").is_null(),
        created_at.abs() < EXACT_FROM_SECONDS,
        pl.col("event_uuid") == "",
        pl.col("event_type") == "",
    ).fill_null(value=False)
    issues: list[Issue] = []
    slow = rows.filter(is_slow)
    read = pl.DataFrame([_read_one(row, issues) for row in slow.iter_rows(named=True)], schema=rows.schema)
    is_complete = pl.all_horizontal(pl.col(REQUIRED).is_not_null())
    is_plain = is_complete & ~is_slow
    # A copy of all rows is what a bad one costs the others: no copy without any, and one where there are some.
    others = pl.concat([rows.filter(~is_slow & ~is_complete), read])
    accepted = pl.concat([rows.filter(is_plain), read.filter(is_complete)]) if others.height else rows
    occurred_at = pl.col("occurred_at").cast(TIMESTAMP)
    return Deliveries(accepted.with_columns(occurred_at), others.filter(~is_complete).with_columns(occurred_at), issues)


def _read_one(row: dict[str, Any], issues: list[Issue]) -> dict[str, Any]:
    """The row with its odd values read; each that cannot be read is NULL and an issue."""
    odd = {} if row["odd"] is None else loads(row["odd"].encode())
    if not isinstance(odd, dict):
        return row
    for name, column in _LOOKED_AT.items():
        if row[column] is not None:
            odd[name] = row[column]
    for field in FIELDS:
        if field.name in odd:
            value = odd[field.name]
            read = field.read(value)
            row[field.column] = None if isinstance(read, Unreadable) else read
            if isinstance(read, Unreadable):
                issues.append((row["delivery"], field.name, read.reason, dumps(value)))
    return row
