"""What is read of an event's `data`: operation, import_type and validation_error_counts, of whatever event type.

Most texts are so plain that regular expressions prove what they hold and Polars takes it out; the others are decoded in
Python, a few microseconds each, and end in the same columns. Landing writes `data` as compact JSON with each key once,
which the expressions rely on.
"""

from typing import Any

import orjson
import polars as pl

from pipelines.flatten.deliveries import Issue
from pipelines.flatten.reading import Unreadable, json_type, read_count, read_text
from pipelines.oneschema.json_text import dumps, loads

COUNTS = pl.Map(pl.String(), pl.Map(pl.String(), pl.Int64()))

_TEXT_KEYS = ("operation", "import_type")
_COUNTS_KEY = "validation_error_counts"

_STRING = r'"[^"\\]*"'
_SCALAR = rf"(?:{_STRING}|-?[0-9][0-9.eE+-]*|true|false|null)"
_PLAIN_COUNTS = rf"\{{(?:{_STRING}:\{{(?:{_STRING}:[0-9]{{1,15}},?)*\}},?)*\}}"
_PLAIN_DATA = rf'^\{{(?:(?:"{_COUNTS_KEY}":{_PLAIN_COUNTS}|{_STRING}:{_SCALAR}),?)*\}}$'

_READ = {"operation": pl.String(), "import_type": pl.String(), "counts": pl.String()}


def read_data(accepted: pl.DataFrame, issues: list[Issue]) -> pl.DataFrame:
    """Adds `operation`, `import_type` and `counts` (validation_error_counts as JSON that decodes into COUNTS, NULL
    where `data` has no such object) and appends an issue for each value that cannot be read."""
    data = pl.col("data")
    has_any = data.str.contains_any([f'"{key}":' for key in (*_TEXT_KEYS, _COUNTS_KEY)]).fill_null(value=False)
    texts = accepted.select("delivery", "data").filter(has_any)
    if not texts.height:
        return accepted.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in _READ.items())
    read = texts.with_columns(
        *(data.str.extract(rf'[{{,]"{key}":"([^"\\]*)"').alias(key) for key in _TEXT_KEYS),
        data.str.extract(rf'"{_COUNTS_KEY}":({_PLAIN_COUNTS})').alias("counts"),
        is_plain=data.str.contains(_PLAIN_DATA),
    )
    # A key that is there and yet was not taken out has a value of another type.
    is_whole = pl.all_horizontal(
        pl.col(column).is_not_null() | ~data.str.contains(f'"{key}":', literal=True)
        for key, column in (*((key, key) for key in _TEXT_KEYS), (_COUNTS_KEY, "counts"))
    )
    is_plain = pl.col("is_plain") & is_whole
    plain = read.filter(is_plain).select("delivery", *_READ)
    odd = read.filter(~is_plain)
    slow = [_read_one(delivery, text, issues) for delivery, text in odd.select("delivery", "data").iter_rows()]
    slow_frame = pl.DataFrame(slow, schema={"delivery": pl.UInt32(), **_READ}, orient="row")
    return accepted.join(pl.concat([plain, slow_frame]), on="delivery", how="left")


def _read_one(delivery: int, text: str, issues: list[Issue]) -> tuple[int, str | None, str | None, str | None]:
    data = loads(text.encode())
    texts = [_read_text(delivery, key, data.get(key), issues) for key in _TEXT_KEYS]
    return (delivery, texts[0], texts[1], _read_counts(delivery, data.get(_COUNTS_KEY), issues))


def _read_text(delivery: int, key: str, value: Any, issues: list[Issue]) -> str | None:
    if value is None:
        return None
    read = read_text(value)
    if isinstance(read, Unreadable):
        issues.append((delivery, f"data.{key}", read.reason, dumps(value)))
        return None
    return read


def _read_counts(delivery: int, counts: Any, issues: list[Issue]) -> str | None:
    """The counts that can be read, as JSON. A count of 0 is kept: it names the pair."""
    if counts is None:
        return None
    field = f"data.{_COUNTS_KEY}"
    if not isinstance(counts, dict):
        issues.append((delivery, field, f"{json_type(counts)}, not an object", dumps(counts)))
        return None
    kept: dict[str, dict[str, int]] = {}
    for column_key, codes in counts.items():
        if not isinstance(codes, dict):
            issues.append((delivery, f"{field}.{column_key}", f"{json_type(codes)}, not an object", dumps(codes)))
            continue
        for code, value in codes.items():
            count = read_count(value)
            if isinstance(count, Unreadable):
                issues.append((delivery, f"{field}.{column_key}.{code}", count.reason, dumps(value)))
            else:
                kept.setdefault(column_key, {})[code] = count
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def explode_counts(events: pl.DataFrame) -> pl.DataFrame:
    """One row per event x column key x error code, in the order of the events: their columns but `counts`, and
    `column_key`, `error_code`, `error_count`."""
    return (
        events.filter(pl.col("counts") != "{}")
        .with_columns(pl.col("counts").str.json_decode(COUNTS).map.entries())
        .explode("counts", empty_as_null=False)
        .unnest("counts")
        .rename({"key": "column_key"})
        .with_columns(pl.col("value").map.entries())
        .explode("value", empty_as_null=False)
        .unnest("value")
        .rename({"key": "error_code", "value": "error_count"})
    )
