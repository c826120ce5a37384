"""Claims of one day: every payload taken apart into paths, once per distinct payload.

A path is the keys from the top joined by dots (a dot or backslash within a key is escaped by a backslash). Payloads of
one integration share a shape: the same keys in the same order. Plain payloads are grouped by shape, the shape is parsed
once, and Polars takes the values out by position with their JSON text untouched; the others are parsed in Python.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipelines.oneschema.json_text import JsonText, loads_carefully

_STRING = r'"[^"\\]*"'
_KEY = r'"[^"\\:]*"'
_VALUE = rf'(?:{_STRING}|-?[0-9][0-9.eE+-]*|true|false|null|\{{\}}|\[(?:[^\[\]{{}}"\\]|{_STRING})*\])'


def _object_of(levels: int) -> str:
    value = rf"(?:{_VALUE}|{_object_of(levels - 1)})" if levels > 1 else _VALUE
    return rf"\{{(?:{_KEY}:{value},?)*\}}"


# Without backslashes quotes come in pairs, and without colons in keys `":` is the end of a key wherever a scan from the
# left meets it, because each value is taken whole.
_PLAIN = f"^{_object_of(3)}$"
_TAKEN = f'":{_VALUE}'
_HOLE = re.compile(r'":(?=[,}])')

_LEVEL = re.compile(r"((?:[^.\\]|\\.)*)\.", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

# A shape of fewer payloads than this is cheaper to parse one by one.
_FEWEST_OF_A_SHAPE = 24

_JSON_TYPES = {'"': "string", "t": "boolean", "f": "boolean", "n": "null", "[": "array", "{": "object"}
SCALAR_TYPES = frozenset({"string", "number", "boolean"})


@dataclass
class Seen:
    """What is known of a claim path; `first` and `last` are occurred_at in microseconds since 1970."""

    types: set[str] = field(default_factory=set)
    event_count: int = 0
    first: int = 2**63 - 1
    last: int = -(2**63)

    def add(self, types: Iterable[str], event_count: int, first: int, last: int) -> None:
        self.types.update(types)
        self.event_count += event_count
        self.first = min(self.first, first)
        self.last = max(self.last, last)


@dataclass(frozen=True)
class DayClaims:
    """The claims of one day."""

    seen: dict[str, Seen]
    """By path; objects are listed beside what is in them."""
    _groups: list[pl.DataFrame]
    """`claims` (the payload) and one String column per path: the text of its scalar, NULL for anything else."""

    def values(self, paths: Iterable[str]) -> pl.DataFrame:
        """`claims`, one row per distinct payload, and a String column per path that this day has."""
        wanted = [path for path in paths if path in self.seen]
        schema = {"claims": pl.String(), **{_column(path): pl.String() for path in wanted}}
        frames = [pl.DataFrame(schema=schema)]
        for group in self._groups:
            have = set(group.columns)
            frames.append(
                group.select(
                    "claims",
                    *(
                        pl.col(column) if column in have else pl.lit(None, pl.String()).alias(column)
                        for column in map(_column, wanted)
                    ),
                )
            )
        return pl.concat(frames).rename({_column(path): path for path in wanted})


def read_claims(events: pl.DataFrame) -> DayClaims:
    """The claims of events (`claims`, `occurred_at`)."""
    seen: dict[str, Seen] = defaultdict(Seen)
    payloads = (
        events.lazy()
        .filter(pl.col("claims").is_not_null())
        .group_by("claims")
        .agg(
            event_count=pl.len(),
            first=pl.col("occurred_at").min().to_physical(),
            last=pl.col("occurred_at").max().to_physical(),
        )
        .with_columns(
            shape=pl.when(pl.col("claims").str.contains(_PLAIN)).then(pl.col("claims").str.replace_all(_TAKEN, '":'))
        )
        .collect()
    )
    groups: list[pl.DataFrame] = []
    slow: list[pl.DataFrame] = []
    for (shape,), group in payloads.group_by("shape", maintain_order=True):
        paths = _paths_of_shape(str(shape)) if shape is not None and group.height >= _FEWEST_OF_A_SHAPE else None
        if paths is None:
            slow.append(group)
        else:
            groups.append(_read_shape(group, paths, seen))
    if slow:
        groups.append(_read_one_by_one(pl.concat(slow), seen))
    return DayClaims(dict(seen), groups)


def _paths_of_shape(shape: str) -> list[tuple[str, bool]] | None:
    """The paths of a shape in the order of its values, objects among them (True); None where a key is repeated."""
    filled, holes = _HOLE.subn('":0', shape)
    paths = [(path, isinstance(value, dict)) for path, value in walk(loads_carefully(filled))]
    return paths if sum(not is_object for _, is_object in paths) == holes else None


def _read_shape(group: pl.DataFrame, paths: list[tuple[str, bool]], seen: dict[str, Seen]) -> pl.DataFrame:
    totals = group.select(pl.col("event_count").sum(), pl.col("first").min(), pl.col("last").max()).row(0)
    leaves = [path for path, is_object in paths if not is_object]
    for path, is_object in paths:
        if is_object:
            seen[path].add(["object"], *totals)
    taken = group.select("claims", found=pl.col("claims").str.extract_all(_TAKEN))
    texts = taken.select(
        "claims",
        *(pl.col("found").list.get(position).alias(_column(path)) for position, path in enumerate(leaves)),
    )
    columns = list(map(_column, leaves))
    firsts = texts.select(pl.col(columns).str.slice(2, 1))
    for path, column in zip(leaves, columns, strict=True):
        marks = firsts[column].unique().to_list()
        seen[path].add((_JSON_TYPES.get(mark, "number") for mark in marks), *totals)
    return texts.select("claims", *(_scalar(pl.col(column)) for column in columns))


def _scalar(text: pl.Expr) -> pl.Expr:
    """From `":value` to the text of a scalar."""
    mark = text.str.slice(2, 1)
    return (
        pl.when(mark == '"')
        .then(text.str.slice(3).str.head(-1))
        .when(mark.is_in(["[", "{", "n"]))
        .then(None)
        .otherwise(text.str.slice(2))
    )


def _read_one_by_one(group: pl.DataFrame, seen: dict[str, Seen]) -> pl.DataFrame:
    texts: dict[str, dict[int, str]] = defaultdict(dict)
    rows = group.select("claims", "event_count", "first", "last").iter_rows()
    for position, (claims, event_count, first, last) in enumerate(rows):
        for path, value in walk(loads_carefully(claims, keep_numbers=True)):
            kind = _json_type(value)
            seen[path].add((kind,), event_count, first, last)
            if kind in SCALAR_TYPES:
                texts[path][position] = ("true" if value else "false") if kind == "boolean" else str(value)
    return pl.DataFrame(
        [
            group["claims"],
            *(
                pl.Series(_column(path), [found.get(position) for position in range(group.height)], pl.String())
                for path, found in texts.items()
            ),
        ]
    )


def walk(payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every path of a payload with its value, objects before what is in them, in the order of the text."""
    levels: list[Iterator[tuple[str, Any]]] = [iter(payload.items())]
    prefixes = [""]
    while levels:
        item = next(levels[-1], None)
        if item is None:
            levels.pop()
            prefixes.pop()
            continue
        path = prefixes[-1] + item[0].replace("\\", "\\\\").replace(".", "\\.")
        yield path, item[1]
        if isinstance(item[1], dict):
            levels.append(iter(item[1].items()))
            prefixes.append(f"{path}.")


def levels_of(path: str) -> list[str]:
    """The keys of a path."""
    return [_ESCAPED.sub(r"\1", level) for level in _LEVEL.findall(f"{path}.")]


def _json_type(value: Any) -> str:
    if isinstance(value, JsonText):
        return "number"
    if value is None:
        return "null"
    kinds = {str: "string", bool: "boolean", dict: "object", list: "array"}
    return kinds[type(value)]


def _column(path: str) -> str:
    # A path may be any text, `claims` included.
    return f"path {path}"
