"""Batches of deliveries from a seed: large, and mostly readable, so that merging, counts and claims have work to do.

Hypothesis keeps what it generates small; a batch from one number can be as large and as lopsided as the real thing.
"""

import json
from datetime import datetime, timedelta
from random import Random

from pipelines.oneschema.json_text import Json
from tests.flatten.payloads import SECRETS, sign
from tests.flatten.reference import Delivery

_WORDS = [
    "",
    "x",
    "item",
    "Item",
    "naïve ключ",
    "a.b",
    'quo"te',
    "back\\slash",
    "tab\t",
    ":5",
    "\x00",
    "\u2028",
    "7",
    "null",
]
_CODES = ["MISSING", "PICKLIST", "missing", "custom: x", "数", "operation"]
_NUMBERS = [0, 1, -1, 7, 0.5, -0.0, 1e-7, 5e-324, 1e16, 1.7e308, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, -(2**70)]
_CLAIM_KEYS = [
    "user_id",
    "User_Id",
    "org",
    "org__plan",
    "plan",
    "Plan Name",
    "a.b",
    "a",
    "b",
    "e\\f",
    ":x",
    "ключ",
    "",
    "claims",
]
_CLAIM_TEXTS = [
    *('"x"', '"<USER_ID>"', '"naïve"', r'"na\u00efve \"q\" \\"', '":5"', '"}{"', '"a,b:c"', '""', '"true"', '"null"'),
    *("1", "1.0", "1.10", "-0", "1e5", "1E+2", "123456789012345678901234567890", "true", "false", "null"),
    *('["a",1]', "[]", "{}", '[{"a":1,"b":":2"}]', '[[1],":2"]', r'["\"]"]'),
]
_HEADERS = [*['{"typ":"JWT","alg":"HS256"}'] * 8, '{"alg":"none"}', '{"alg":"HS512"}', "[]", "{"]
_BAD_TOKENS: list[Json] = [None, None, "", "garbage", "a.b.c", "..", "a.b", "ey.ey.ey.ey", 5, True, {"jwt": 1}, []]
_TIMES = [
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9999999Z", "2024-02-30T00:00:00Z", "2024-13-01", "", "soon"),
    *(1e12, 1e14, 1e12 - 1, 1e14 + 1, 253402300799.5, 253402300800.0, -62135596800.0, -62135596801.0, 1e300, -5.5),
    *(0, -0.0, 5e-7, 1.5e-6, 2.5e-6, 2**53, 2**53 + 1, "1706112805", "1706112805.512352", "-1", "1706112805512", True),
]
_LAYOUTS = ["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S.%f5"]
_ZONES = ["Z", "+00:00", "-0530", " UTC", "", "+05:45", " +0000", "z"]


def batch(seed: int) -> list[Delivery]:
    """Up to 120 deliveries of up to 40 events, most of them readable."""
    rng = Random(seed)
    oddness = rng.choice([0.0, 0.02, 0.1, 0.4])
    events = [_event(rng, number, oddness) for number in range(rng.randint(1, 40))]
    return [_delivery(rng, rng.choice(events), oddness) for _ in range(rng.randint(1, 120))]


def _delivery(rng: Random, event: Json, oddness: float) -> Delivery:
    if isinstance(event, dict):
        changes = _event(rng, 0, oddness)
        if rng.random() < 0.3 and isinstance(changes, dict):
            name = rng.choice(
                ["id", "trigger_type", "data", "created_at", "has_snapshot", "template_key", "new", "embed_jwt"]
            )
            event = {key: value for key, value in event.items() if key != name}
            event |= {name: changes[name]} if name in changes else {}
        event = dict(rng.sample(list(event.items()), len(event)))
    return Delivery(
        event,
        _token(rng),
        rng.choice([11, 12, 13, 13, 13, None]),
        rng.choice(["employees", None]),
        rng.choice(["Production", None]),
        rng.choice(["api", "api", "webhook"]),
        datetime(2024, 2, 1) + timedelta(hours=rng.randrange(4)),
    )


def _event(rng: Random, number: int, oddness: float) -> Json:
    if rng.random() < oddness / 5:
        return _anything(rng)
    event: dict[str, Json] = {
        "uuid": f"event-{number}",
        "event_type": rng.choice(["embed_initialized", "columns_mapped", "new_type"]),
        "created_at": _created_at(rng, oddness),
    }
    optional: dict[str, Json] = {
        "id": rng.randrange(1000),
        "embed_id": rng.randrange(1, 5),
        "trigger_type": rng.choice(["user", "api", "automation", "cron"]),
        "has_snapshot": rng.random() < 0.5,
        "data": _data(rng, oddness),
        "template_key": rng.choice(["employees", "contacts"]),
        "environment_name": rng.choice(["Production", "Staging"]),
        "embed_jwt": _token(rng),
        "token": "5fd6a161-86f1-4514-9e92-0660e19ad5c2",
        "new": _anything(rng),
        "Uuid": _anything(rng),
    }
    event |= {name: value for name, value in optional.items() if rng.random() < 0.5}
    for name in list(event):
        if name != "embed_jwt" and rng.random() < oddness / 4:
            event[name] = rng.choice([_anything(rng), str(event[name]), None])
    return event


def _created_at(rng: Random, oddness: float) -> Json:
    seconds = rng.choice([1_706_112_805, 1_706_050_000, 1_706_112_805 - 86_400]) + rng.randrange(2_000_000) / 1e6
    if rng.random() >= oddness:
        # 1/128 s is 7812.5 microseconds: a tie.
        return rng.choice([seconds, seconds, round(seconds), round(seconds) + rng.randrange(128) / 128])
    moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
    iso = moment.strftime(rng.choice(_LAYOUTS)) + rng.choice(_ZONES)
    return rng.choice([iso, rng.choice(_TIMES), seconds * 1000, round(seconds * 1000), rng.random() * 9_000 * 2.0**-9])


def _data(rng: Random, oddness: float) -> Json:
    if rng.random() < oddness / 4:
        return _anything(rng)
    data: dict[str, Json] = {}
    counts: Json = {
        rng.choice(_WORDS): {rng.choice(_CODES): _count(rng, oddness) for _ in range(rng.randrange(4))}
        if rng.random() >= oddness / 2
        else _count(rng, 1.0)
        for _ in range(rng.randrange(4))
    }
    shape = rng.randrange(6)
    if shape in (0, 1):
        data["validation_error_counts"] = counts if rng.random() >= oddness else _anything(rng)
    if shape in (1, 2):
        data["operation"] = rng.choice(_WORDS) if rng.random() >= oddness else _anything(rng)
    if shape in (1, 3):
        data["import_type"] = rng.choice(_WORDS) if rng.random() >= oddness else _anything(rng)
    if rng.random() < 0.2:
        data["row_count"] = rng.randrange(99)
    if rng.random() < oddness:
        data["nested"] = {"operation": "not this", "validation_error_counts": {"no": {"NO": 1}}}
    return data


def _count(rng: Random, oddness: float) -> Json:
    odd: list[Json] = ["3", "-1", "x", -1, 2.0, 2.5, True, None, 2**63, 10**15, {"n": 1}, []]
    return rng.choice(odd) if rng.random() < oddness else rng.randrange(20)


def _token(rng: Random) -> Json:
    if rng.random() < 0.2:
        return rng.choice(_BAD_TOKENS)
    # Few payload shapes a batch, some of them many times, so that shapes are found.
    usual = {
        "user_id": f'"usr_{rng.randrange(5)}"',
        "org": f'{{"id":{rng.randrange(3)},"Plan Name":"x"}}',
        "n": rng.choice(["1.50", "1.50", "null", '["a"]', r'"x\"y"', '"1.50"', "true"]),
    }
    claims = usual if rng.random() < 0.6 else {rng.choice(_CLAIM_KEYS): _claim(rng, 0) for _ in range(rng.randrange(5))}
    issuer = rng.choice(['"client-1"', '"client-2"', '"stranger"', "7"])
    text = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in {"iss": issuer, **claims}.items()) + "}"
    text = rng.choice([text] * 20 + ["[1]", "5", "null", "{", "", '{ "user_id" : 12 , "org" : { "a" : [ 1 ] } }'])
    return sign(text, rng.choice([*SECRETS.values(), "another"]), rng.choice(_HEADERS))


def _claim(rng: Random, depth: int) -> str:
    if depth < 3 and rng.random() < 0.25:
        keys = rng.sample(_CLAIM_KEYS, rng.randrange(3))
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_claim(rng, depth + 1)}" for key in keys) + "}"
    return rng.choice(_CLAIM_TEXTS)


def _anything(rng: Random, depth: int = 0) -> Json:
    kind = rng.randrange(6 if depth < 3 else 4)
    if kind < 2:
        return rng.choice([None, True, False, *_NUMBERS])
    if kind < 4:
        return rng.choice(_WORDS)
    if kind == 4:
        return [_anything(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(_WORDS): _anything(rng, depth + 1) for _ in range(rng.randrange(3))}
