"""Claims taken apart: what comes of keys that are identifiers, and of many shapes."""

import json
import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.flatten import claim_lists
from pipelines.flatten.claim_columns import ClaimColumn
from pipelines.flatten.claim_shapes import commonest_shape
from pipelines.flatten.claims import Claims, Seen, read_claims
from pipelines.oneschema.json_text import MAX_DEPTH
from tests.proving import examples

# How many payloads are read by their shape, and how many one by one.
MANY, FEW = 200, 3


def events(payloads: list[dict[str, Any]]) -> pl.DataFrame:
    return of_texts([json.dumps(payload) for payload in payloads])


def of_texts(payloads: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date_index": pl.Series([0] * len(payloads), dtype=pl.UInt32),
            "claims": payloads,
            "occurred_at": [datetime(2024, 1, 24) + timedelta(seconds=number) for number in range(len(payloads))],
        }
    )


def texts_of(claims: Claims, path: str) -> list[str | None]:
    """By event."""
    values, rows = claims.texts([path])
    return values[path].gather(rows).to_list()


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize(
    "number",
    [
        *("0", "-0", "-0.0", "7", "-7", "1.50", "1e2", "2.5E+33", "1E400", "0.1000000000000000055511151231257827"),
        *("18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "9" * 80),
    ],
)
def test_a_number_keeps_its_digits(number: str, count: int) -> None:
    claims = read_claims(of_texts([f'{{"n":{number},"of":"{each}","in":[{number}]}}' for each in range(count)]))
    assert texts_of(claims, "n") == [number] * count
    assert claims.seen[0]["n"].types == {"number"}
    assert texts_of(claims, "in") == [None] * count


@pytest.mark.parametrize("count", [FEW, MANY])
def test_what_is_not_a_number_is_no_number(count: int) -> None:
    texts = {
        "yes": "true",
        "no": "false",
        "none": "null",
        "text": '"7"',
        "dash": '"-0"',
        "escaped": r'"\ud800\n\u00fc"',
    }
    members = ",".join(f'"{name}":{text}' for name, text in texts.items())
    claims = read_claims(of_texts([f'{{"of":{each},{members}}}' for each in range(count)]))
    expected = {"yes": "true", "no": "false", "none": None, "text": "7", "dash": "-0", "escaped": "\\ud800\nü"}
    assert {name: texts_of(claims, name) for name in expected} == {
        name: [text] * count for name, text in expected.items()
    }
    types = {"yes": "boolean", "no": "boolean", "none": "null", "text": "string", "dash": "string", "escaped": "string"}
    assert {name: claims.seen[0][name].types for name in types} == {name: {kind} for name, kind in types.items()}


@pytest.mark.parametrize("count", [FEW, MANY])
def test_what_is_deeper_than_anybody_nests_is_a_text(count: int) -> None:
    deep = '{"a":' * (MAX_DEPTH + 20) + "1" + "}" * (MAX_DEPTH + 20)
    claims = read_claims(of_texts([f'{{"of":{each},"a":{deep}}}' for each in range(count)]))
    deepest = max(claims.seen[0], key=len)
    assert deepest.count("a") == MAX_DEPTH
    (text,) = set(texts_of(claims, deepest))
    assert text is not None
    assert set(text) == set('{"a":1}')


def test_payloads_that_have_no_shape_leave_the_others_theirs() -> None:
    """Most of them have an array within an array; all have as many keys."""
    of_number = [
        {"a": [[number]], "b": number} if number % 3 else {"a": [number], "b": str(number)} for number in range(MANY)
    ]
    claims = read_claims(events(of_number))
    assert texts_of(claims, "b") == [str(number) for number in range(MANY)]
    assert claims.seen[0]["a"].types == {"array"}
    assert claims.seen[0]["b"].types == {"number", "string"}


def claims_of(payloads: list[str], together: int) -> tuple[dict[str, Seen], list[dict[str, str | None]]]:
    """What is seen of every path, and the texts of each event, where so many payloads are read together."""
    parts = [read_claims(of_texts(payloads[start : start + together])) for start in range(0, len(payloads), together)]
    seen: dict[str, Seen] = defaultdict(Seen)
    for part in parts:
        for path, known in part.seen[0].items():
            # Times are those of positions within a part, and no part of the comparison.
            seen[path].add(known.types, known.event_count, 0, 0)
    texts: list[dict[str, str | None]] = []
    for part in parts:
        values, rows = part.texts(sorted(seen))
        texts += values.select(pl.all().gather(rows)).to_dicts()
    return seen, texts


KEYS = st.sampled_from(["id-1", "ü", "", "a.b", 'quo"te', "back\\slash", "user_id", "\0", "\n", ":", "7"])
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [True, None, 0, -1.5, "", "x", 'quo"te', "-0", [], ["a", 1], [[1]], {}, {"user_id": {"7": 1}}]
)
FLAGS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(KEYS, VALUES, max_size=2)
FIXED: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"iss": VALUES}, optional={"user_id": VALUES, "flags": FLAGS}
)


@pytest.mark.prove
@settings(max_examples=examples(10), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(FLAGS, FIXED), min_size=1, max_size=6), st.integers(0, 2**32))
def test_many_payloads_are_read_as_each_alone(several: list[tuple[dict[str, Any], dict[str, Any]]], seed: int) -> None:
    """Whatever their keys and values are, and however alike they are."""
    chance = random.Random(seed)
    payloads: list[str] = []
    for number in range(MANY):
        own, fixed = chance.choice(several)
        flags = {f"flag-{number}": chance.choice([True, "on", 7, None])} if chance.random() < 0.8 else {}
        where = {"org": {"of": flags, "at": number}} if number % 2 else flags
        payloads.append(orjson.dumps({**own, **fixed, **where, "at": number}).decode())
    assert claims_of(payloads, MANY) == claims_of(payloads, MANY // 5)


def test_ids_among_the_keys_are_read_with_what_is_around_them() -> None:
    """By shape: none is left to be read one by one. The id of one is the name of another's claim."""
    flags = [{"user_id": "7"}, {"org": True}, *({f"f-{number}": number % 2 == 0} for number in range(2, MANY))]
    payloads = [{"user_id": f"u{number}", "flags": {**flag, "last": [1]}} for number, flag in enumerate(flags)]
    shape = commonest_shape(map(json.dumps, payloads))
    assert shape is not None
    assert (shape.leaves, shape.objects, shape.open_members) == (["user_id", "flags.last"], ("flags",), ("flags.",))
    claims = read_claims(events(payloads))
    assert texts_of(claims, "user_id") == [f"u{number}" for number in range(MANY)]
    assert texts_of(claims, "flags.user_id") == ["7", *[None] * (MANY - 1)]
    assert texts_of(claims, "flags.org") == [None, "true", *[None] * (MANY - 2)]
    assert texts_of(claims, "flags.f-3") == [*[None] * 3, "false", *[None] * (MANY - 4)]
    names = {f"flags.{key}" for flag in flags for key in flag}
    assert set(claims.seen[0]) == {"user_id", "flags", "flags.last"} | names
    assert {(*claims.seen[0][name].types, claims.seen[0][name].event_count) for name in names} == {
        ("string", 1),
        ("boolean", 1),
    }


def test_keys_that_are_trace_ids_take_the_room_of_what_they_hold() -> None:
    """Not one column per key: that would cost the square of their number."""
    count = 3_000
    claims = read_claims(events([{"user_id": f"u{i}", "trace": {f"t-{i}": i, "at": [i]}} for i in range(count)]))
    seen = claims.seen[0]
    assert len(seen) == count + 3
    assert (seen["user_id"].event_count, seen["trace.t-7"].event_count, seen["trace.at"].types) == (count, 1, {"array"})
    lists: list[list[pl.DataFrame]] = [value for value in vars(claims).values() if isinstance(value, list)]
    held = [frame for frames in lists for frame in frames]
    assert sum(frame.height * frame.width for frame in held) < 10 * count

    first = claim_lists.first_paths(seen, 3)
    none = claim_lists.CLAIM_RECORD.to_frame().insert_column(0, pl.Series("event_date", [], pl.String()))
    rows = claim_lists.ClaimsOfDate(seen, first, {}).rows()
    chosen = claim_lists.choose(claim_lists.replaced(none, {"2024-01-24": rows}), 3, {"trace.t-0": "BIGINT"})
    assert chosen == {
        "trace.t-0": ClaimColumn("claim_trace__t_0", "BIGINT"),
        "trace.t-1": ClaimColumn("claim_trace__t_1", "VARCHAR"),
        "user_id": ClaimColumn("claim_user_id", "VARCHAR"),
    }
    values, value_rows = claims.texts(chosen)
    texts = values.select(pl.all().gather(value_rows))
    assert texts["user_id"].to_list() == [f"u{i}" for i in range(count)]
    assert texts["trace.t-1"].to_list() == [None, "1", *[None] * (count - 2)]
