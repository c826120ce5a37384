"""Reads raw rows: typed values for the lake's row, issues for the quarantine.

Polars reads plain rows. A row with `odd` values costs a few microseconds of Python, and costs the other rows nothing.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines.home.tables import TIMESTAMP
from pipelines.oneschema.event_fields import EVENT_FIELDS
from pipelines.oneschema.json_text import Json, dumps, loads
from pipelines.oneschema.reading import EXACT_FROM_SECONDS, Unreadable, microseconds

Issue = tuple[int, str, str, str]
"""A value that could not be read: number of its delivery, field, reason, the value as JSON."""

_REQUIRED = [field.column for field in EVENT_FIELDS if field.required]
_TIMES = {field.raw_column: field.column for field in EVENT_FIELDS if field.kind.json_type is float}
# Fields whose values must be looked at one by one, even if they are of the documented type.
_LOOKED_AT = {field.name: field.raw_column for field in EVENT_FIELDS if field.kind.is_picky}
_NAMES = [column for column in _LOOKED_AT.values() if column not in _TIMES]


@dataclass(frozen=True)
class Deliveries:
    """Deliveries that have been read. `delivery` numbers the rows of raw; `occurred_at` is the time that was read."""

    accepted: pl.DataFrame
    """The deliveries with all required fields: RAW_EMBED_EVENTS, `delivery` and `occurred_at`."""
    rejected: pl.DataFrame
    """The other deliveries, with the same columns. What could not be read is NULL."""
    issues: list[Issue]


def read_deliveries(raw: pl.DataFrame) -> Deliveries:
    """Reads rows of RAW_EMBED_EVENTS, odd values included where they can be read."""
    times = [microseconds(pl.col(raw_column)).alias(column) for raw_column, column in _TIMES.items()]
    rows = raw.with_row_index("delivery").with_columns(times)
    is_slow = pl.any_horizontal(
        pl.col("odd").is_not_null(),
        *(pl.col(raw_column).is_not_null() & pl.col(column).is_null() for raw_column, column in _TIMES.items()),
        *(pl.col(raw_column).abs() < EXACT_FROM_SECONDS for raw_column in _TIMES),
        *(pl.col(column) == "" for column in _NAMES),
        # These rows landed before the field was known.
        *(
            pl.col(field.raw_column).is_null() & pl.col("extra").str.contains(f'"{field.name}":', literal=True)
            for field in EVENT_FIELDS
        ),
    ).fill_null(value=False)
    issues: list[Issue] = []
    slow = rows.filter(is_slow)
    read = pl.DataFrame([_read_one(row, issues) for row in slow.iter_rows(named=True)], schema=rows.schema)
    is_complete = pl.all_horizontal(pl.col(_REQUIRED).is_not_null())
    is_plain = is_complete & ~is_slow
    # If any row is incomplete or was read by Python, all rows are copied once. Otherwise there is no copy.
    others = pl.concat([rows.filter(~is_slow & ~is_complete), read])
    accepted = pl.concat([rows.filter(is_plain), read.filter(is_complete)]) if others.height else rows
    cast = pl.col(list(_TIMES.values())).cast(TIMESTAMP)
    return Deliveries(accepted.with_columns(cast), others.filter(~is_complete).with_columns(cast), issues)


def _read_one(row: dict[str, Any], issues: list[Issue]) -> dict[str, Any]:
    """The row with its odd values read. A value that cannot be read is NULL, and an issue."""
    odd: Json = {} if row["odd"] is None else loads(row["odd"].encode())
    if not isinstance(odd, dict):
        return row
    for name, column in _LOOKED_AT.items():
        if row[column] is not None:
            odd[name] = row[column]
    if row["extra"] is not None:
        extra = loads(row["extra"].encode())
        assert isinstance(extra, dict), "landing writes an object"
        odd |= {field.name: extra.pop(field.name) for field in EVENT_FIELDS if extra.get(field.name) is not None}
        row["extra"] = dumps(extra) if extra else None
    for field in EVENT_FIELDS:
        if field.name in odd:
            value = odd[field.name]
            read = field.kind.read(value)
            row[field.column] = None if isinstance(read, Unreadable) else read
            if isinstance(read, Unreadable):
                issues.append((row["delivery"], field.name, read.reason, dumps(value)))
    return row
