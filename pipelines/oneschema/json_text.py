"""Reads JSON whatever vendors and customers send: the slow, careful way beside orjson.

orjson refuses lone surrogates, NaN and control characters, and rounds integers beyond 64 bits. Here every such value
becomes one that any store can hold, and nothing is lost:

| in the JSON | becomes |
| --- | --- |
| a byte order mark before it; UTF-16 or UTF-32 | what the same text is in UTF-8 |
| a control character in a string, not escaped | that character |
| a lone surrogate (or a byte that is not UTF-8) | the six characters of its escape, `\\ud800` |
| NaN, Infinity, a number beyond the double's range | that text as a string |
| an integer of more than 64 digits | its digits as a string; shorter ones stay exact integers |
| nesting below MAX_DEPTH levels | the JSON text of the subtree, as a string |

orjson itself takes deeper nesting, 1,024 levels, and leaves it unchanged. Landing uses the careful way for what orjson
cannot write again. Both ways take time linear in the text, whatever it holds and wherever it was cut off.
"""

import json
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import TypeAlias, cast

import orjson

# What a JSON text is read to.
Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

MAX_DEPTH = 100
_MAX_DIGITS = 64

# A string that does not end reaches to the end of the text. The possessive `*+` gives it up at once: trying again from
# each quote in it would take time quadratic in its length.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)"
)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_ESCAPES_OF_RAW = {code: f"\\\\u{code:04x}" for code in range(0xD800, 0xE000)}

# Makes every digit a 0, so that a plain substring search finds a run of digits.
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * 19


class JsonText(str):
    """A piece of JSON kept as its text: a number whose digits must not change."""

    __slots__ = ()


def loads(body: bytes) -> Json:
    """The value of a JSON text, storable as this module's table says. Raises ValueError when it is not JSON."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return loads_carefully(body)
    # orjson silently turns an integer beyond 64 bits into a double.
    if _LONG_INTEGER in body.translate(_DIGITS_TO_ZERO):
        return loads_carefully(body)
    return value


def loads_carefully(body: bytes | str, *, keep_numbers: bool = False) -> Json:
    """Like `loads`, but by the standard library. With `keep_numbers`, each number is the JsonText of its digits."""
    text = body if isinstance(body, str) else _decoded(body)
    # Looking for two characters, and whether there are others than ASCII's, costs a tenth of the searches.
    if "\\u" in text and _SURROGATE_ESCAPE.search(text):
        text = _ESCAPE.sub(_escape_lone_surrogate, text)
    if not text.isascii() and _has_raw_surrogate(text):
        text = text.translate(_ESCAPES_OF_RAW)
    decoder = _KEEPING_NUMBERS if keep_numbers else _READING_NUMBERS
    return decoder.decode(_limit_depth(text.removeprefix("\ufeff")))


def storable(value: object) -> Json:
    """A decoded value with everything in it made storable, as this module's table says."""
    return loads_carefully(dumps(value, ascii_only=True))


def dumps(value: object, *, ascii_only: bool = False) -> str:
    """Compact JSON with sorted keys, of any depth. A JsonText is written as it is."""
    # json.dumps makes an encoder at each call, which takes ten times as long as to write a short text.
    quoted = encode_basestring_ascii if ascii_only else encode_basestring
    try:
        return _written(value, quoted)
    except RecursionError:
        return _written_of_any_depth(value, quoted)


def _written(value: object, quoted: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return value if isinstance(value, JsonText) else quoted(value)
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return f"{{{','.join([f'{quoted(key)}:{_written(members[key], quoted)}' for key in sorted(members)])}}}"
    if isinstance(value, list):
        return f"[{','.join([_written(element, quoted) for element in cast('list[object]', value)])}]"
    return json.dumps(value)


def _written_of_any_depth(value: object, quoted: Callable[[str], str]) -> str:
    written: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            members = cast("dict[str, object]", item)
            waiting.append(JsonText("}"))
            for position, key in enumerate(sorted(members, reverse=True)):
                comma = "," if position < len(members) - 1 else ""
                waiting += [members[key], JsonText(f"{comma}{quoted(key)}:")]
            waiting.append(JsonText("{"))
        elif isinstance(item, list):
            elements = cast("list[object]", item)
            waiting.append(JsonText("]"))
            for position, element in enumerate(reversed(elements)):
                waiting += [element, JsonText("," if position < len(elements) - 1 else "")]
            waiting.append(JsonText("["))
        else:
            written.append(_written(item, quoted))
    return "".join(written)


def canonical(value: object) -> bytes:
    """The compact JSON of a storable value, with sorted keys: equal to `dumps`, but written by orjson if it can."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # The value has integers beyond 64 bits.
        return dumps(value).encode()


def _has_raw_surrogate(text: str) -> bool:
    # UTF-8 has none. To try costs a tenth of a search for them.
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _escape_lone_surrogate(found: re.Match[str]) -> str:
    escape = found.group()
    return "\\" + escape if _SURROGATE_ESCAPE.fullmatch(escape) else escape


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _decoded(body: bytes) -> str:
    """The text of a JSON body. JSON begins with two ASCII characters, so its zero bytes reveal the encoding."""
    encoding = json.detect_encoding(body)
    return body.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "surrogatepass")


def _limit_depth(text: str) -> str:
    """The text with each subtree below MAX_DEPTH levels as a string. Raises ValueError if one is not JSON."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return text
    depth = 0
    # The text itself, and within it each subtree that is MAX_DEPTH levels deeper than the one around it.
    pieces = [_Piece(0)]
    for found in _STRING_OR_BRACKET.finditer(text):
        bracket = found.group()
        if bracket in ("[", "{"):
            depth += 1
            if depth % MAX_DEPTH == 1 and depth > 1:
                pieces.append(_Piece(found.start()))
        elif bracket in ("]", "}"):
            if depth % MAX_DEPTH == 1 and depth > 1:
                piece = pieces.pop()
                subtree = text[piece.start : found.end()]
                # Nothing else checks the JSON in that string.
                json.loads(piece.close(text, found.end()), parse_int=str, parse_float=str, strict=False)
                is_outermost = len(pieces) == 1
                pieces[-1].replace(
                    text, piece.start, found.end(), json.dumps(subtree, ensure_ascii=False) if is_outermost else "0"
                )
            depth -= 1
            if depth < 0:
                break
    if depth:
        raise ValueError("not JSON: its brackets do not match")
    return pieces[0].close(text, len(text))


class _Piece:
    """A subtree whose own deep subtrees are replaced one after the other."""

    def __init__(self, start: int) -> None:
        self.start = self._done = start
        self._parts: list[str] = []

    def replace(self, text: str, start: int, end: int, by: str) -> None:
        self._parts += [text[self._done : start], by]
        self._done = end

    def close(self, text: str, end: int) -> str:
        return "".join([*self._parts, text[self._done : end]])


# json.loads would make one of these at every call, which costs as much as reading a small text.
_READING_NUMBERS = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=str, strict=False)
_KEEPING_NUMBERS = json.JSONDecoder(parse_int=JsonText, parse_float=JsonText, parse_constant=str, strict=False)
