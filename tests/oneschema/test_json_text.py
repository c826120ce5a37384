"""JSON by the careful road: what the standard library makes of it, errors that are ValueErrors, and linear time."""

import json
import math
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.oneschema.json_text import MAX_DEPTH, Json, JsonText, loads, loads_carefully
from tests.linear_time import MOST, worst_ratio
from tests.proving import examples

BOM = b"\xef\xbb\xbf"

# What the standard library takes, as text: values, and white space wherever it may stand.
numbers = st.one_of(
    st.integers().map(str),
    st.integers(-(10**90), 10**90).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["-0", "1e999", "-1E+999", "1e-999", "0.1E5", "NaN", "Infinity", "-Infinity", "9" * 5000]),
)
characters = st.text(max_size=8).map(json.dumps) | st.text(max_size=8).map(lambda t: json.dumps(t, ensure_ascii=False))
escapes = st.lists(
    st.sampled_from([r"\ud83d", r"\ude00", r"\uD800", r"\\", r"\"", r"\/", r"\u0000", "[", "}", "u", "é", "\u2028"]),
    max_size=6,
).map(lambda parts: '"' + "".join(parts) + '"')
strings = characters | escapes
spaces = st.sampled_from(["", "", " ", "\n\t\r "])


def _within(value: str, depth: int) -> str:
    return "[" * depth + value + "]" * depth


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaced = st.tuples(spaces, inner, spaces).map("".join)
    members = st.tuples(strings, spaces, st.just(":"), spaced).map("".join)
    return st.one_of(
        st.lists(spaced, max_size=4).map(lambda values: "[" + ",".join(values) + "]"),
        st.lists(members, max_size=4).map(lambda values: "{" + ",".join(values) + "}"),
        st.builds(_within, inner, st.integers(1, 3 * MAX_DEPTH)),
    )


texts = st.recursive(numbers | strings | st.sampled_from(["null", "true", "false"]), nested, max_leaves=12)


def as_documented(value: Json, depth: int = 0) -> Json:
    """A value of the standard library as the table of json_text has it, but for what lies deeper: that is None."""
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {without_lone(key): as_documented(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_documented(inner, depth + 1) for inner in value]
    return without_lone(value) if isinstance(value, str) else value


def without_lone(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


def exact(digits: str) -> int | str:
    return int(digits) if len(digits) <= 64 else digits


def finite(digits: str) -> float | str:
    return float(digits) if math.isfinite(float(digits)) else digits


def deep_is_none(found: Json, depth: int = 0) -> Json:
    """What was read, with None for each subtree that has become a text of JSON."""
    if isinstance(found, dict):
        return {key: deep_is_none(inner, depth + 1) for key, inner in found.items()}
    if isinstance(found, list):
        return [deep_is_none(inner, depth + 1) for inner in found]
    if depth == MAX_DEPTH and isinstance(found, str) and found[:1] in ("[", "{"):
        return None
    return found


def lower_escapes(value: Json) -> Json:
    """An escape that is kept as text keeps the case it was written in."""
    if isinstance(value, dict):
        return {_lowered(key): lower_escapes(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [lower_escapes(inner) for inner in value]
    return _lowered(value) if isinstance(value, str) else value


def _lowered(text: str) -> str:
    return text.replace(r"\uD800", r"\ud800")


@pytest.mark.prove
@settings(max_examples=examples(400))
@given(texts, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]))
@example("[" * 250 + r'{"a":["\ud800"]}' + "]" * 250, "utf-8")
def test_valid_json_is_what_the_standard_library_reads(text: str, encoding: str) -> None:
    expected = json.loads(text, parse_int=exact, parse_float=finite, parse_constant=str)
    # A scalar of one character leaves nothing to tell its encoding by.
    body = f" {text} ".encode(encoding, "surrogatepass")
    assert lower_escapes(deep_is_none(loads_carefully(body))) == lower_escapes(as_documented(expected))
    numbers_kept = loads_carefully(text, keep_numbers=True)
    if not isinstance(numbers_kept, dict | list | str):
        assert numbers_kept == expected


def is_json(body: bytes) -> bool:
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        json.loads(text, parse_int=str, parse_float=str, strict=False)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(1500))
@given(st.data())
def test_whatever_is_not_json_is_a_value_error(data: st.DataObject) -> None:
    text = data.draw(texts | st.text(alphabet='[]{}":,\\u0d8e1- \x00\n', max_size=30))
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    between = data.draw(st.sampled_from(["", '"', "\\", "]", "}", ",", "\x01", text[start:end]]))
    broken = (text[:start] + between + text[end:]).encode("utf-8", "surrogatepass")
    for read in (loads, loads_carefully):
        try:
            read(broken)
        except ValueError:
            assert not is_json(broken)
        else:
            assert is_json(broken)


@pytest.mark.prove
@settings(max_examples=examples(500))
@given(st.binary(max_size=40))
@example(b"\x00")
@example(b"{\x00")
@example(b"\xff\xfe\x00\xd8")
def test_bytes_of_any_kind_are_read_or_a_value_error(body: bytes) -> None:
    for read in (loads, loads_carefully):
        try:
            read(body)
        except ValueError:
            continue


@pytest.mark.parametrize("depth", [200, 1_000, 1_024, 1_025, 5_000, 100_000])
def test_no_depth_is_a_recursion_error(depth: int) -> None:
    for read in (loads, loads_carefully):
        read(b"[" * depth + b"]" * depth)
        for broken in (b"[" * depth, b"]" * depth, b"]" * depth + b"[" * depth, b"[" * depth + b"}" * depth):
            with pytest.raises(ValueError):
                read(broken)
        with pytest.raises(ValueError):
            read(b"[" * depth + b"1,,2" + b"]" * depth)


def test_a_subtree_that_is_too_deep_is_its_text() -> None:
    value = loads_carefully("[" * (MAX_DEPTH + 250) + '"a\\n\x01"' + "]" * (MAX_DEPTH + 250))
    for _ in range(MAX_DEPTH):
        assert isinstance(value, list)
        (value,) = value
    assert value == "[" * 250 + '"a\\n\x01"' + "]" * 250


def test_a_bom_and_control_characters_are_read() -> None:
    for read in (loads, loads_carefully):
        assert read(BOM + b'{"a":"x\x02\n\x00y"}') == {"a": "x\x02\n\x00y"}
    assert loads_carefully('\ufeff{"a":1.50}', keep_numbers=True) == {"a": JsonText("1.50")}


# Each makes about so many bytes of what a careless search goes through again and again.
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "escaped quotes, unterminated": lambda n: b'{"uuid":"event-' + b'\\"' * (n // 2),
    "escaped quotes": lambda n: b'{"uuid":"' + b'\\"' * (n // 2) + b'","n":NaN}',
    "backslashes, unterminated": lambda n: b'["' + b"\\" * n,
    "quotes": lambda n: b'["a' + b'"' * n,
    "empty strings": lambda n: b"[" + b'"",' * (n // 3) + b"NaN]",
    "a string of brackets, unterminated": lambda n: b'["' + b"[{" * (n // 2),
    "a string of brackets": lambda n: b'["' + b"[{" * (n // 2) + b'",NaN]',
    "opening brackets": lambda n: b"[" * n,
    "closing brackets": lambda n: b"]" * n,
    "pairs of brackets": lambda n: b"[" + b"{}," * (n // 3) + b"NaN]",
    "brackets that do not match": lambda n: b"[}" * (n // 2),
    "nesting": lambda n: b"[" * (n // 2) + b"]" * (n // 2),
    "nesting of objects": lambda n: b'{"a":' * (n // 6) + b"NaN" + b"}" * (n // 6),
    "nesting again and again": lambda n: b"[" + (b"[" * 300 + b"]" * 300 + b",") * (n // 601) + b"NaN]",
    "nesting with escaped quotes": lambda n: b'["\\"",' * (n // 7) + b"0" + b"]" * (n // 7),
    "lone surrogates": lambda n: b'["' + b"\\ud800" * (n // 6) + b'"]',
    "lone surrogates, unterminated": lambda n: b'["' + b"\\ud800" * (n // 6),
    "pairs of surrogates, the wrong way round": lambda n: b'["' + b"\\udc00\\ud800" * (n // 12) + b'"]',
    "bytes of surrogates": lambda n: b'["' + b"\xed\xa0\x80" * (n // 3) + b'"]',
    "bytes that are not UTF-8": lambda n: b'["' + b"\xff" * n + b'"]',
    "digits": lambda n: b"[" + b"9" * n + b"]",
    "digits of a fraction": lambda n: b"[0." + b"9" * n + b",NaN]",
    "zeros of a fraction": lambda n: b"[0." + b"0" * n + b"1,NaN]",
    "digits of an exponent": lambda n: b"[1e-" + b"9" * n + b",NaN]",
    "minus signs": lambda n: b"[" + b"-" * n,
    "long integers": lambda n: b"[" + b"9223372036854775808," * (n // 20) + b"0]",
    "control characters": lambda n: b'["' + b"\x01\n" * (n // 2) + b'"]',
    "control characters, unterminated": lambda n: b'["' + b"\x01\n" * (n // 2),
    "line feeds": lambda n: b"\n" * n,
    "zero bytes": lambda n: b"\0" * n,
    "byte order marks": lambda n: BOM * (n // 3),
    "the same key": lambda n: b"{" + b'"a":NaN,' * (n // 8) + b'"a":1}',
}

EVENT = (
    b'{"uuid":"event-%d","event_type":"columns_mapped","created_at":1706112805.512352,"data":'
    b'{"validation_error_counts":{"item \\"no\\" [1]":{"PICKLIST":1}},"note":"\\ud800 \x01 \\\\"}},'
)
for cut in (1, 30, 60, 100, 130, 150, 170, 185):
    # From the text's end, so that it falls everywhere in an event.
    HOSTILE[f"an answer cut {cut} bytes before its end"] = lambda n, cut=cut: (
        b"[" + b"".join(EVENT % number for number in range(n // 180))
    )[:-cut]


def read_or_refuse(body: bytes) -> None:
    with suppress(ValueError):
        loads(body)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("family", HOSTILE)
def test_reading_is_linear_in_the_text(family: str) -> None:
    worst, took = worst_ratio(read_or_refuse, HOSTILE[family])
    assert worst <= MOST, (family, took)
