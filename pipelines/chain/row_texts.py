"""A row of raw as a text: what is hashed, and what an evidence pack shows.

The text is JSON as Python's `json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))` writes it, in
UTF-8. A column that is NULL is left out, so that a row keeps its text when raw gets more columns. A time is a string in
UTC with microseconds, `2026-12-01T09:30:00.000000Z`. A double that JSON cannot write is the string of its `repr`.

Polars writes nearly every row so. A test compares it with the definition, whatever a later version writes.
"""

import json
import math
from typing import Any

import polars as pl

# Within these bounds Polars writes a double as Python does; beyond, it writes the exponent in another way.
_LEAST_PLAIN, _MOST_PLAIN = 1e-4, 1e15

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def row_texts(frame: pl.DataFrame) -> list[bytes]:
    """The texts of a frame's rows, in their order. The order of its columns changes nothing."""
    names = [name for name in sorted(frame.columns) if frame[name].null_count() < frame.height]
    if not names:
        return [b"{}"] * frame.height
    times = pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    shown = frame.select(names).with_columns(times)
    if not all(map(_is_plain, shown.select(pl.selectors.float()).get_columns())):
        return [_text(row) for row in shown.iter_rows(named=True)]
    has_null = shown.select(pl.any_horizontal(pl.col(names).is_null())).to_series()
    texts = shown.select(pl.struct(names).struct.json_encode().alias("text")).to_series()
    if has_null.any():
        # Few rows have one: looking for it in all of them would take as long as writing them.
        texts = texts.scatter(has_null.arg_true(), _without_nulls(texts.filter(has_null), names))
    return texts.cast(pl.Binary).to_list()


def _without_nulls(texts: pl.Series, names: list[str]) -> pl.Series:
    for name in names:
        # Inside a string a quote stands behind a backslash, so this is never a part of one.
        absent = f'"{name}":null'
        texts = texts.str.replace_all(f"{absent},", "", literal=True)
        texts = texts.str.replace_all(f",{absent}}}", "}", literal=True)
        texts = texts.str.replace_all(f"{{{absent}}}", "{}", literal=True)
    return texts


def _is_plain(column: pl.Series) -> bool:
    size = column.abs()
    return (size.is_between(_LEAST_PLAIN, _MOST_PLAIN) | (size == 0)).fill_null(value=True).all()


def _text(row: dict[str, Any]) -> bytes:
    shown = {
        name: repr(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
        if value is not None
    }
    return _write(shown).encode()
