"""Reads an event's `data`: operation, import_type and validation_error_counts, whatever the event type.

Most texts are so plain that regular expressions prove what they hold, and Polars extracts it. The others are decoded in
Python, at a few microseconds each, into the same columns. The expressions rely on landing, which writes `data` as
compact JSON with each key once.
"""

import orjson
import polars as pl

from pipelines.flatten.read_deliveries import Issue
from pipelines.oneschema.json_text import Json, dumps, loads
from pipelines.oneschema.reading import Unreadable, json_type, read_count, read_text

COUNTS = pl.Map(pl.String(), pl.Map(pl.String(), pl.Int64()))

_TEXT_KEYS = ("operation", "import_type")
_COUNTS_KEY = "validation_error_counts"

_STRING = r'"[^"\\]*"'
_SCALAR = rf"(?:{_STRING}|-?[0-9][0-9.eE+-]*|true|false|null)"
_PLAIN_COUNTS = rf"\{{(?:{_STRING}:\{{(?:{_STRING}:[0-9]{{1,15}},?)*\}},?)*\}}"
_PLAIN_DATA = rf'^\{{(?:(?:"{_COUNTS_KEY}":{_PLAIN_COUNTS}|{_STRING}:{_SCALAR}),?)*\}}$'

_READ = pl.Schema(
    {
        "operation": pl.String(),
        "import_type": pl.String(),
        "counts": pl.String(),
        "has_unreadable_error_counts": pl.Boolean(),
    }
)


def read_data(accepted: pl.DataFrame, issues: list[Issue], column_key_limit: int) -> pl.DataFrame:
    """Adds `operation`, `import_type`, `counts` (validation_error_counts as JSON that decodes into COUNTS, NULL where
    `data` has no such object) and `has_unreadable_error_counts` (validation_error_counts, or something in it, cannot be
    read), and appends an issue for each value that cannot be read.

    An object of more than `column_key_limit` pairs of column key and error code is one issue, and is not read: with a
    part of them an event would look like a whole report, and what is missing from it like resolved.
    """
    data = pl.col("data")
    counts = data.str.strip_prefix(f'{{"{_COUNTS_KEY}":').str.strip_suffix("}")
    with_alone = accepted.with_columns(
        *(
            pl.when(data.str.contains(rf'^\{{"{key}":{_STRING}\}}$'))
            .then(data.str.strip_prefix(f'{{"{key}":"').str.strip_suffix('"}'))
            .alias(key)
            for key in _TEXT_KEYS
        ),
        pl.when(data.str.contains(rf'^\{{"{_COUNTS_KEY}":{_PLAIN_COUNTS}\}}$')).then(counts).alias("counts"),
        # The patterns take out nothing that cannot be read.
        has_unreadable_error_counts=pl.lit(value=False),
    )
    has_any = data.str.contains_any([f'"{key}":' for key in (*_TEXT_KEYS, _COUNTS_KEY)])
    is_taken = pl.any_horizontal(pl.col(*_TEXT_KEYS, "counts").is_not_null())
    is_other = (has_any & ~is_taken).fill_null(value=False)
    others = with_alone.select("delivery", "data", position=pl.int_range(pl.len()), is_other=is_other).filter(
        "is_other"
    )
    if others.height:
        found = _read_others(others.drop("is_other"), issues, column_key_limit)
        with_alone = with_alone.with_columns(with_alone[name].scatter(found["position"], found[name]) for name in _READ)
    return _without_long_counts(with_alone, issues, column_key_limit)


def _without_long_counts(rows: pl.DataFrame, issues: list[Issue], column_key_limit: int) -> pl.DataFrame:
    # Every key has a colon behind it: few colons, few pairs.
    may_be_long = pl.col("counts").str.count_matches('":', literal=True) > column_key_limit
    looked_at = rows.select("delivery", "counts", position=pl.int_range(pl.len())).filter(may_be_long)
    long: list[int] = []
    for delivery, text, position in looked_at.iter_rows():
        if _pair_count(orjson.loads(text)) > column_key_limit:
            issues.append(_long_counts(delivery, text, column_key_limit))
            long.append(position)
    if not long:
        return rows
    unreadable = rows["has_unreadable_error_counts"].scatter(long, values=True)
    return rows.with_columns(rows["counts"].scatter(long, None), unreadable)


def _pair_count(counts: dict[str, Json]) -> int:
    """Pairs of column key and error code; a column without codes, or with something else, is one."""
    sizes = (len(codes) if isinstance(codes, dict) else 1 for codes in counts.values())
    return sum(size or 1 for size in sizes)


def _long_counts(delivery: int, text: str, column_key_limit: int) -> Issue:
    reason = f"more than {column_key_limit} pairs of column key and error code (EMBED_ANALYTICS_COLUMN_KEY_LIMIT)"
    return (delivery, f"data.{_COUNTS_KEY}", reason, text)


def _read_others(rows: pl.DataFrame, issues: list[Issue], column_key_limit: int) -> pl.DataFrame:
    """`position` and the columns read, in any order, for rows whose `data` holds more than just one of the keys."""
    data = pl.col("data")
    read = rows.with_columns(
        *(data.str.extract(rf'[{{,]"{key}":"([^"\\]*)"').alias(key) for key in _TEXT_KEYS),
        data.str.extract(rf'"{_COUNTS_KEY}":({_PLAIN_COUNTS})').alias("counts"),
        has_unreadable_error_counts=pl.lit(value=False),
    )
    # A key that is there but was not extracted has a value of another type.
    is_plain = pl.all_horizontal(
        data.str.contains(_PLAIN_DATA),
        *(
            pl.col(column).is_not_null() | ~data.str.contains(f'"{key}":', literal=True)
            for key, column in (*((key, key) for key in _TEXT_KEYS), (_COUNTS_KEY, "counts"))
        ),
    )
    slow = read.filter(~is_plain)
    found = [
        _read_one(delivery, text, issues, column_key_limit)
        for delivery, text in slow.select("delivery", "data").iter_rows()
    ]
    decoded = pl.DataFrame(found, schema=_READ, orient="row")
    return pl.concat([read.filter(is_plain).select("position", *_READ), slow.select("position").hstack(decoded)])


def _read_one(
    delivery: int, text: str, issues: list[Issue], column_key_limit: int
) -> tuple[str | None, str | None, str | None, bool]:
    """The values of _READ."""
    data = loads(text.encode())
    assert isinstance(data, dict), "a value that is not an object was read as no data"
    texts = [_read_text(delivery, key, data.get(key), issues) for key in _TEXT_KEYS]
    noted = len(issues)
    counts = _read_counts(delivery, data.get(_COUNTS_KEY), issues, column_key_limit)
    return (texts[0], texts[1], counts, len(issues) > noted)


def _read_text(delivery: int, key: str, value: Json, issues: list[Issue]) -> str | None:
    if value is None:
        return None
    read = read_text(value)
    if isinstance(read, Unreadable):
        issues.append((delivery, f"data.{key}", read.reason, dumps(value)))
        return None
    return read


def _read_counts(delivery: int, counts: Json, issues: list[Issue], column_key_limit: int) -> str | None:
    """The readable counts, as JSON. A count of 0 is kept, because it names the pair."""
    if counts is None:
        return None
    field = f"data.{_COUNTS_KEY}"
    if not isinstance(counts, dict):
        issues.append((delivery, field, f"{json_type(counts)}, not an object", dumps(counts)))
        return None
    if _pair_count(counts) > column_key_limit:
        issues.append(_long_counts(delivery, dumps(counts), column_key_limit))
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


def explode_counts(counts: pl.Series) -> pl.DataFrame:
    """One row for each column key x error code in the texts of `counts`, in their order: `position` (which text),
    `column_key`, `error_code`, `error_count`."""
    return (
        pl.select(position=pl.int_range(counts.len(), dtype=pl.UInt32()), counts=counts)
        .filter(pl.col("counts") != "{}")
        .with_columns(pl.col("counts").str.json_decode(COUNTS).map.entries())
        .explode("counts", empty_as_null=False)
        .unnest("counts")
        .rename({"key": "column_key"})
        .with_columns(pl.col("value").map.entries())
        .explode("value", empty_as_null=False)
        .unnest("value")
        .rename({"key": "error_code", "value": "error_count"})
    )
