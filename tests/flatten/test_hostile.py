"""100,000 payloads that no vendor would send: nothing raises, and every delivery is accounted for."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.flatten.days import FlattenOptions, catalogues, flatten_days
from pipelines.home.layout import Home
from pipelines.oneschema.json_text import Json, loads
from pipelines.oneschema.tokens import ReadToken
from pipelines.raw.raw_rows import Envelope, to_raw
from tests.flatten.flattening import read_table, token_reader, write_raw
from tests.flatten.payloads import SECRETS, base64url, sign

FIELDS = [
    *("uuid", "id", "embed_id", "event_type", "trigger_type", "created_at", "has_snapshot", "data"),
    *("template_key", "environment_name", "embed_jwt", "token", "UUID", "Data", "", "\x00", "new.field"),
]
NUMBERS = [
    "0",
    "-0",
    "1e999",
    "-1e999",
    "1E-400",
    "9" * 19,
    "9" * 400,
    "-" + "9" * 5000,
    "0.1",
    "NaN",
    "Infinity",
    "1e15",
]
TEXTS = [
    *('""', r'"\u0000"', r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"a\\\ud800b"', '"\u2028"', r'"\"}]"'),
    *('"2024-01-24T16:13:25Z"', '"1706112805"', '"' + "x" * 2000 + '"', r'"\/\b\f"', '"event_date=.."', '"\';--"'),
]
GOOD: dict[str, Callable[[random.Random], str]] = {
    "uuid": lambda rng: f'"event-{rng.randrange(60_000)}"',
    "event_type": lambda rng: rng.choice(['"columns_mapped"', '"embed_closed"', '"new"']),
    "created_at": lambda rng: str(1_706_100_000 + rng.random() * 90_000),
    "embed_id": lambda rng: str(rng.randrange(1000)),
    "data": lambda rng: rng.choice(["{}", '{"validation_error_counts":{"a":{"X":1}}}', '{"operation":"x"}']),
}


def random_json(rng: random.Random, depth: int = 0) -> str:
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind < 4:
        return rng.choice(TEXTS)
    if kind < 6:
        return rng.choice(["null", "true", "false", "{}", "[]", '{"a":1,"A":2,"a":3}'])
    if kind == 6:
        return "[" + ",".join(random_json(rng, depth + 1) for _ in range(rng.randrange(3))) + "]"
    keys = ["validation_error_counts", "operation", "token", "a", "A", r"\u0000", r"\ud800", '\\"', "a.b"]
    pairs = (f'"{rng.choice(keys)}":{random_json(rng, depth + 1)}' for _ in range(rng.randrange(4)))
    return "{" + ",".join(pairs) + "}"


def hostile_event(rng: random.Random) -> str:
    if rng.random() < 0.05:
        return random_json(rng)
    if rng.random() < 0.002:
        depth = rng.choice([90, 150, 300, 1100, 30_000])
        opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
        deep = opening * depth + "1" + closing * depth
        return '{"uuid":"deep","event_type":"x","embed_id":1,"created_at":1706112805,"data":{"deep":' + deep + "}}"
    pairs = {json.dumps(name): make(rng) for name, make in GOOD.items() if rng.random() < 0.9}
    pairs |= {json.dumps(rng.choice(FIELDS)): random_json(rng) for _ in range(rng.randrange(4))}
    return "{" + ",".join(f"{name}:{value}" for name, value in pairs.items()) + "}"


def hostile_token(rng: random.Random) -> Any:
    kind = rng.randrange(40)
    if kind < 3:
        return f"{base64url(rng.randbytes(30))}.{base64url(rng.randbytes(30))}.x"
    return rng.choice([None, 5, "", "\ud800.\ud800.\ud800", "é.é.é"]) if kind < 8 else sign(random_json(rng), "secret")


def huge_token(rng: random.Random, number: int) -> str:
    payload = json.dumps({"iss": "client-1", "big": "x" * 1_000_000, f"key {'y' * 1_000}": {"a": number}})
    return sign(payload, SECRETS["client-1"]) if number % 2 else "." * rng.randrange(1_000_000)


@pytest.mark.slow
def test_hostile_payloads_are_accounted_for(tmp_path: Path) -> None:
    rng = random.Random(4)
    tokens = token_reader(SECRETS)
    home = Home(tmp_path)
    delivered = 0
    embed_tokens = [tokens.read(hostile_token(rng)) for _ in range(400)]
    huge_tokens = [tokens.read(huge_token(rng, number)) for number in range(4)]

    def token() -> ReadToken:
        return rng.choice(huge_tokens if rng.random() < 0.0005 else embed_tokens)

    for number in range(10):
        events: list[Json] = []
        for _ in range(500):
            page = loads(("[" + ",".join(hostile_event(rng) for _ in range(20)) + "]").encode("utf-8", "surrogatepass"))
            assert isinstance(page, list)
            events += page
        fetched_at = datetime(2024, 2, 1, number)
        deliveries = [
            (event, Envelope(rng.choice([7, None]), "t", None, token(), "api", fetched_at, "s")) for event in events
        ]
        write_raw(home, to_raw(deliveries, tokens), f"part-{number}")
        delivered += len(deliveries)

    report = flatten_days(home, FlattenOptions(claim_column_limit=10))

    assert delivered == 100_000
    assert report.delivery_count == delivered
    assert report.event_count + report.merged_count + report.quarantined_count == delivered
    lake = read_table(home.lake_embed_events)
    quarantined = read_table(home.quarantine)
    assert lake.height == report.event_count > 20_000
    assert quarantined.filter(pl.col("level") == "event").height == report.quarantined_count > 10_000
    assert quarantined.filter(pl.col("level") == "field").height == report.field_quarantined_count > 10_000
    assert read_table(home.lake_validation_errors).height == report.validation_error_count > 1_000
    assert catalogues(home)[0]["delivery_count"].sum() == delivered
    assert catalogues(home)[1].height > 10


def test_one_bad_value_leaves_the_others_alone() -> None:
    assert loads(b'[{"a":"\\ud800"},{"n":12345678901234567890123},{"x":1e999}]') == [
        {"a": "\\ud800"},
        {"n": 12345678901234567890123},
        {"x": "1e999"},
    ]
