"""The shapes of claims' payloads, as regular expressions.

Payloads of one integration share a shape: the same keys in the same order. An expression of these keys, anchored at
both ends, takes the values of every payload of that shape as they are written. Where some keys are ids, payloads still
have the same keys around them: the expression takes such keys as well.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.oneschema.claim_paths import walk
from pipelines.oneschema.json_text import MAX_DEPTH

# The values that a shape's expression extracts. Each ends where the JSON value ends, so an expression of keys and
# these, anchored at both ends, can fit a text in only one way. Arrays of arrays are left to Python. If it is small
# enough, the expression is matched in one pass without backtracking, which takes less than half the time.
_STRING = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf"({_STRING}|-?[0-9][0-9.eE+-]*|true|false|null|\[(?:[^\[\]\"]|{_STRING})*\])"
_MEMBER = rf"(?P<key>{_STRING}\s*:\s*)(?P<value>{_VALUE}(?=\s*[,}}]))?"
_TOKEN = re.compile(rf"{_MEMBER}|[{{}},]\s*")
_WITH_VALUE = re.compile(_MEMBER)

# A key that may differ has to be its own path: without a dot, and without anything that is escaped.
_OPEN_KEY = re.compile(r'"([^"\\.]*)"\s*:\s*')

# Within these bounds, a shape's expression compiles in milliseconds.
_LONGEST_EXEMPLAR = 4_096
_MOST_VALUES = 64


@dataclass(frozen=True)
class Shape:
    """The keys of payloads. A member is *open* if its key is not the same in all of them."""

    expression: str
    groups: tuple[tuple[str, str], ...]
    """What its groups take: `path` and the path of a value, `key` or `value` and an open member's number."""
    objects: tuple[str, ...]
    """The paths of objects."""
    open_members: tuple[str, ...]
    """By number what stands before the key in the open member's path."""

    @property
    def leaves(self) -> list[str]:
        """The paths of values, without the open members."""
        return [path for kind, path in self.groups if kind == "path"]


def commonest_shape(payloads: Iterable[str]) -> Shape | None:
    """The shape that most of these payloads have. None if hardly two are alike."""
    exemplars = [each for each in payloads if len(each) <= _LONGEST_EXEMPLAR and is_shallow(each)]
    return _of_most(exemplars, _without_values) or _of_most(exemplars, _without_members)


def is_shallow(payload: str) -> bool:
    """Whether no subtree can lie so deep that the careful way makes a text of it."""
    return payload.count("[") + payload.count("{") <= MAX_DEPTH


def _of_most(payloads: list[str], outline: Callable[[str], str]) -> Shape | None:
    # To compare outlines takes a tenth of what it takes to make shapes of all.
    alike: dict[str, list[str]] = defaultdict(list)
    for payload in payloads:
        alike[outline(payload)].append(payload)
    for those in sorted(alike.values(), key=len, reverse=True):
        if len(those) > 1 and (shape := _shape(those)) is not None:
            return shape
    return None


def _without_values(payload: str) -> str:
    return _WITH_VALUE.sub(r"\g<key>", payload)


def _without_members(payload: str) -> str:
    """Brackets, commas, and the keys of objects."""
    return _WITH_VALUE.sub(lambda found: found["key"] if found["value"] is None else "", payload)


def _shape(alike: Sequence[str]) -> Shape | None:
    """The shape of payloads of one outline. None if Python must parse them: nested arrays, a repeated key, too many
    values, keys that differ and are not their own paths."""
    tokens = [_tokens(payload) for payload in alike]
    if len(set(map(len, tokens))) != 1 or not tokens[0]:
        return None
    parts = ["^"]
    # The JSON of such a payload, whose values are 0, and whose open members have a number for a key.
    example: list[str] = []
    for side_by_side in zip(*tokens, strict=True):
        literals, with_value = {literal for literal, _ in side_by_side}, {has_value for _, has_value in side_by_side}
        if len(literals) > 1 and not (with_value == {True} and all(map(_OPEN_KEY.fullmatch, literals))):
            return None
        if len(literals) == 1:
            (literal,) = literals
            parts.append(pl.escape_regex(literal))
            example.append(literal)
        else:
            parts.append(_OPEN_KEY.pattern)
            example.append(f'"\\u0000{len(example)}":')
        if True in with_value:
            parts.append(_VALUE)
            example.append("0")
    shape = _described("".join([*parts, "$"]), "".join(example))
    values, opened = parts.count(_VALUE), parts.count(_OPEN_KEY.pattern)
    is_whole = len(shape.groups) == values + opened and len(shape.open_members) == opened
    return shape if is_whole and 0 < values <= _MOST_VALUES else None


def _tokens(payload: str) -> list[tuple[str, bool]]:
    """The pieces of a payload beside its values, each with whether a value follows it. Empty if it is not of these."""
    found: list[tuple[str, bool]] = []
    position = 0
    while position < len(payload):
        token = _TOKEN.match(payload, position)
        if token is None:
            return []
        position = token.end()
        found.append((token["key"] or token.group(), token["value"] is not None))
    return found


def _described(expression: str, example: str) -> Shape:
    groups: list[tuple[str, str]] = []
    objects: list[str] = []
    open_members: list[str] = []
    for path, value in walk(json.loads(example)):
        before, is_open, _ = path.partition("\0")
        if isinstance(value, dict):
            objects.append(path)
        elif is_open:
            groups += [("key", str(len(open_members))), ("value", str(len(open_members)))]
            open_members.append(before)
        else:
            groups.append(("path", path))
    return Shape(expression, tuple(groups), tuple(objects), tuple(open_members))
