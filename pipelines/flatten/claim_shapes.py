"""The shapes of claims' payloads, as regular expressions.

Payloads of one integration share a shape: the same keys in the same order. An expression of these keys, anchored at
both ends, takes the values of every payload of that shape as they are written.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from pipelines.oneschema.claim_paths import walk
from pipelines.oneschema.json_text import MAX_DEPTH, JsonText

# The values that a shape's expression extracts. Each ends where the JSON value ends, so an expression of literal keys
# and these, anchored at both ends, can fit a text in only one way. Arrays of arrays are left to Python. If it is small
# enough, the expression is matched in one pass without backtracking, which takes less than half the time.
_STRING = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf"({_STRING}|-?[0-9][0-9.eE+-]*|true|false|null|\[(?:[^\[\]\"]|{_STRING})*\])"
_MEMBER = rf"(?P<key>{_STRING}\s*:\s*)(?P<value>{_VALUE}(?=\s*[,}}]))?"
_TOKEN = re.compile(rf"{_MEMBER}|[{{}},]\s*")
_WITH_VALUE = re.compile(_MEMBER)

# Within these bounds, a shape's expression compiles in milliseconds.
_LONGEST_EXEMPLAR = 4_096
_MOST_VALUES = 64


@dataclass(frozen=True)
class Shape:
    expression: str
    leaves: tuple[str, ...]
    """The paths of the expression's values, in order."""
    objects: tuple[str, ...]


def commonest_shape(payloads: Iterable[str]) -> Shape | None:
    """The shape that most of these payloads have. None if hardly two are alike."""
    # Payloads of one shape differ in their values alone. To leave these out takes a tenth of what a shape takes.
    alike: dict[str, list[str]] = defaultdict(list)
    for payload in payloads:
        if len(payload) <= _LONGEST_EXEMPLAR:
            alike[_WITH_VALUE.sub(r"\g<key>", payload)].append(payload)
    for payload, *others in sorted(alike.values(), key=len, reverse=True):
        if others and (shape := _shape(payload)) is not None:
            return shape
    return None


def _shape(payload: str) -> Shape | None:
    """A payload's shape. None if Python must parse it: nested arrays, a repeated key, too many values or levels."""
    if not is_shallow(payload):
        return None
    parts = ["^"]
    position = values = 0
    while position < len(payload):
        token = _TOKEN.match(payload, position)
        if token is None:
            return None
        position = token.end()
        literal = token["key"] or token.group()
        parts.append(pl.escape_regex(literal))
        if token["value"] is not None:
            parts.append(_VALUE)
            values += 1
    paths = [(path, isinstance(value, dict)) for path, value in walk(json.loads(payload, parse_int=JsonText))]
    leaves = tuple(path for path, is_object in paths if not is_object)
    if not 0 < values <= _MOST_VALUES or len(leaves) != values:
        return None
    return Shape("".join([*parts, "$"]), leaves, tuple(path for path, is_object in paths if is_object))


def is_shallow(payload: str) -> bool:
    """Whether no subtree can lie so deep that the careful way makes a text of it."""
    return payload.count("[") + payload.count("{") <= MAX_DEPTH
