"""A row of raw as a text: what is hashed, and what an evidence pack shows.

The text is JSON as Python's `json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))` writes it, in
UTF-8. A column that is NULL is left out, so that a row keeps its text when raw gets more columns. A time is a string in
UTC with microseconds, `2026-12-01T09:30:00.000000Z`. A double that JSON cannot write is the string of its `repr`.
"""

import math
from collections.abc import Iterable

import orjson
import polars as pl

# Within these bounds orjson writes a double as `repr` does; beyond, it writes the exponent in another way.
_LEAST_PLAIN, _MOST_PLAIN = 1e-4, 1e15


def row_texts(frame: pl.DataFrame) -> list[bytes]:
    """The texts of a frame's rows, in their order. The order of its columns changes nothing."""
    names = [name for name in sorted(frame.columns) if frame[name].null_count() < frame.height]
    columns = [_values(frame[name]) for name in names]
    if not names:
        return [b"{}"] * frame.height
    dumps = orjson.dumps
    if any(frame[name].null_count() for name in names):
        return [
            dumps({name: value for name, value in zip(names, row, strict=True) if value is not None})
            for row in zip(*columns, strict=True)
        ]
    return [dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _values(column: pl.Series) -> Iterable[object]:
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list()
    if column.dtype.is_float():
        sizes = column.abs()
        if not (sizes.is_between(_LEAST_PLAIN, _MOST_PLAIN) | (sizes == 0)).fill_null(value=True).all():
            return [None if value is None else _double(value) for value in column]
    return column.to_list()


def _double(value: float) -> object:
    text = repr(value)
    return orjson.Fragment(text.encode()) if math.isfinite(value) else text
