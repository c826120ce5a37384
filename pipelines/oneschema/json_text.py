"""JSON that survives what vendors and customers send: the slow, careful road beside orjson.

orjson refuses lone surrogates, NaN and deep nesting, and rounds integers beyond 64 bits. Here every such value becomes
one that any store can hold, and nothing is lost:

| in the JSON | becomes |
| --- | --- |
| a lone surrogate (or a byte that is no UTF-8) | the six characters of its escape, `\\ud800` |
| NaN, Infinity, a number beyond the double's range | that text as a string |
| an integer of more than 64 digits | its digits as a string; shorter ones stay exact integers |
| nesting below MAX_DEPTH levels | the JSON text of the subtree, as a string |
"""

import json
import math
import re
from typing import Any

import orjson

MAX_DEPTH = 100
_MAX_DIGITS = 64

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)"
)
_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_RAW_SURROGATE = re.compile("[\ud800-\udfff]")

# Digits become 0 and everything else stays, so that a run of digits is found by a plain substring search.
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * 19


class JsonText(str):
    """A piece of JSON kept as the text it was: a number whose digits must not change."""

    __slots__ = ()


def loads(body: bytes) -> Any:
    """The value of a JSON text, storable as this module's table says. Raises ValueError when it is no JSON."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return loads_carefully(body)
    # orjson makes a double of an integer beyond 64 bits, without a word.
    if _LONG_INTEGER in body.translate(_DIGITS_TO_ZERO):
        return loads_carefully(body)
    return value


def loads_carefully(body: bytes | str, *, keep_numbers: bool = False) -> Any:
    """As `loads`, by the standard library; with `keep_numbers` each number is the JsonText it was written as."""
    text = body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")
    text = _RAW_SURROGATE.sub(lambda found: f"\\\\u{ord(found.group()):04x}", text)
    text = _ESCAPE.sub(_escape_lone_surrogate, text)
    return json.loads(
        _limit_depth(text),
        parse_int=JsonText if keep_numbers else _integer,
        parse_float=JsonText if keep_numbers else _number,
        parse_constant=str,
    )


def storable(value: Any) -> Any:
    """A decoded value with everything in it made storable as this module's table says."""
    return loads_carefully(dumps(value, ascii_only=True))


def dumps(value: Any, *, ascii_only: bool = False) -> str:
    """Compact JSON with sorted keys, of any depth; a JsonText is written as it is."""
    written: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, JsonText):
            written.append(item)
        elif isinstance(item, dict):
            waiting.append(JsonText("}"))
            for position, key in enumerate(sorted(item, reverse=True)):
                comma = "," if position < len(item) - 1 else ""
                waiting += [item[key], JsonText(f"{comma}{json.dumps(key, ensure_ascii=ascii_only)}:")]
            waiting.append(JsonText("{"))
        elif isinstance(item, list):
            waiting.append(JsonText("]"))
            for position, element in enumerate(reversed(item)):
                waiting += [element, JsonText("," if position < len(item) - 1 else "")]
            waiting.append(JsonText("["))
        else:
            written.append(json.dumps(item, ensure_ascii=ascii_only))
    return "".join(written)


def canonical(value: Any) -> bytes:
    """Compact JSON with sorted keys of a storable value: as `dumps`, and by orjson where that can write it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Integers beyond 64 bits.
        return dumps(value).encode()


def _escape_lone_surrogate(found: re.Match[str]) -> str:
    escape = found.group()
    return "\\" + escape if _LONE_SURROGATE.fullmatch(escape) else escape


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _limit_depth(text: str) -> str:
    depth = 0
    start = done = 0
    parts: list[str] = []
    for found in _STRING_OR_BRACKET.finditer(text):
        bracket = found.group()
        if bracket in ("[", "{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                start = found.start()
        elif bracket in ("]", "}"):
            if depth == MAX_DEPTH + 1:
                parts += [text[done:start], json.dumps(text[start : found.end()], ensure_ascii=False)]
                done = found.end()
            depth -= 1
    if depth:
        raise ValueError("not JSON: brackets that do not match")
    parts.append(text[done:])
    return "".join(parts)
