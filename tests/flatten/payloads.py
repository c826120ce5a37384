"""Generated deliveries: what the vendor documents, and every way in which it may come to differ."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.flatten.reference import Delivery

SECRETS = {"client-1": "secret-of-client-1", "client-2": "secret-of-client-2"}

_NAMES = st.sampled_from(
    ["item", "some_column", "Item", "naïve ключ", "", "a.b", 'quo"te', "back\\slash", "tab\t", ":5"]
)
_CODES = st.sampled_from(["MISSING", "PICKLIST", "missing", "custom: x", "数"])
# Shorter than any credential field but `token`: what landing removes is not what these tests are about.
_WORDS = st.text(max_size=7)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), _WORDS
)
ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3), max_leaves=6
)

_SECONDS = st.one_of(
    st.floats(1_706_000_000, 1_706_200_000),
    st.integers(1_706_100_000_000_000, 1_706_110_000_000_000).map(lambda microseconds: microseconds / 1e6),
)


def _written(moment: datetime, layout: str, zone: str) -> str:
    return moment.strftime(layout) + zone


_ISO = st.builds(
    _written,
    st.datetimes(datetime(2024, 1, 23), datetime(2024, 1, 25)),
    st.sampled_from(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S.%f789"]),
    st.sampled_from(["Z", "+00:00", "-0530", " UTC", "", "+05:45", " +0000", "z"]),
)
_CREATED_AT = st.one_of(
    *[_SECONDS] * 6,
    st.integers(1_706_100_000, 1_706_110_000),
    st.integers(1_706_100_000, 1_706_110_000).map(str),
    st.floats(1_706_100_000_000, 1_706_110_000_000),
    st.integers(1_706_100_000_000, 1_706_110_000_000),
    st.just("1706112805.512352"),
    _ISO,
    st.sampled_from(
        ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9999999Z", "2024-02-30T00:00:00Z", "2024-13-01", ""]
    ),
    st.floats(-20_000, 20_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [1e12, 1e14, 1e12 - 1, 253402300799.5, 253402300800.0, -62135596800.0, 1e300, 0, -0.0, 5e-7, 2**53]
    ),
    ANYTHING,
)
_COUNT = st.one_of(
    *[st.integers(0, 40)] * 8, st.sampled_from(["3", "-1", "x", -1, 2.0, 2.5, True, None, 2**63, {"n": 1}])
)
_COUNTS = st.one_of(
    *[st.dictionaries(_NAMES, st.dictionaries(_CODES, st.integers(0, 10**12), max_size=3), max_size=3)] * 4,
    st.dictionaries(_NAMES, st.dictionaries(_CODES, _COUNT, max_size=3) | _COUNT, max_size=3),
    ANYTHING,
)
_OPERATION = st.one_of(*[st.sampled_from(["find_and_replace", "delete_row", 'od"d', ""])] * 4, ANYTHING)
_DATA = st.one_of(
    st.just({}),
    *[
        st.fixed_dictionaries(
            {},
            optional={
                "validation_error_counts": _COUNTS,
                "operation": _OPERATION,
                "import_type": _OPERATION,
                "row_count": st.integers(0, 99),
                "note": ANYTHING,
                "nested": st.just({"operation": "not this", "validation_error_counts": {"no": {"NO": 1}}}),
            },
        )
    ]
    * 6,
    ANYTHING,
)


def _mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*[usual] * 12, ANYTHING)


_CLAIM_KEYS = st.sampled_from(
    ["user_id", "User_Id", "org", "org__plan", "plan", "Plan Name", "a.b", "a", "b", "e\\f", ":x", "ключ", "", "claims"]
)
# JSON texts rather than values: a number must keep the digits that it was written with.
_CLAIM_SCALARS = st.one_of(
    _WORDS.map(json.dumps),
    _WORDS.map(lambda word: json.dumps(word, ensure_ascii=False)),
    st.sampled_from(
        ["1", "1.0", "1.10", "-0", "1e5", "1E+2", "123456789012345678901234567890", "true", "null", '":5"']
    ),
    st.sampled_from(['["a",1]', "[]", "{}", '[{"a":1}]', '[[1],":2"]', '"<USER_ID>"', '"}{"', '"a,b:c"']),
)


def _object_text(pairs: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{text}" for key, text in pairs.items()) + "}"


def _payload_text(issuer: str | int, more: dict[str, str]) -> str:
    return _object_text({"iss": json.dumps(issuer), **more})


_CLAIMS = st.recursive(
    _CLAIM_SCALARS, lambda inner: st.dictionaries(_CLAIM_KEYS, inner, max_size=3).map(_object_text), max_leaves=5
)
_PAYLOAD_TEXTS = st.one_of(
    *[
        st.builds(
            _payload_text,
            st.sampled_from([*SECRETS, "stranger", 7]),
            st.dictionaries(_CLAIM_KEYS, _CLAIMS, max_size=4),
        )
    ]
    * 6,
    st.sampled_from(["[1]", "5", '"x"', "null", "{", "", '{ "user_id" : 12 , "org" : { "a" : [ 1 ] } }']),
)


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def sign(payload: str, secret: str, header: str = '{"typ":"JWT","alg":"HS256"}') -> str:
    content = f"{base64url(header.encode())}.{base64url(payload.encode())}"
    return f"{content}.{base64url(hmac.new(secret.encode(), content.encode(), hashlib.sha256).digest())}"


_JWTS = st.builds(
    sign,
    _PAYLOAD_TEXTS,
    st.sampled_from([*SECRETS.values(), SECRETS["client-1"]]),
    st.sampled_from([*['{"typ":"JWT","alg":"HS256"}'] * 6, '{"alg":"none"}', '{"alg":"HS512"}', "[]", "{"]),
)
TOKENS = st.one_of(
    *[_JWTS] * 8,
    st.sampled_from([None, "", "garbage", "a.b.c", "..", "a.b", "ey.ey.ey.ey", 5, True, {"jwt": 1}, []]),
)

_FETCHED_AT = st.integers(0, 3).map(lambda hours: datetime(2024, 2, 1) + timedelta(hours=hours))
_UUIDS = st.one_of(*[st.integers(0, 12).map(lambda number: f"event-{number}")] * 12, ANYTHING)
_INTEGERS = st.one_of(
    *[st.integers(1, 9)] * 8, st.sampled_from(["7", "-3", "+5", "007", " 7", "7.0", 7.0, 7.5, 2**63, -(2**63), True])
)

EVENTS = st.one_of(
    *[
        st.fixed_dictionaries(
            {
                "uuid": _UUIDS,
                "event_type": _mostly(st.sampled_from(["embed_initialized", "columns_mapped", "new_type"])),
            },
            optional={
                "id": _mostly(_INTEGERS),
                "embed_id": _mostly(_INTEGERS),
                "trigger_type": _mostly(st.sampled_from(["user", "api", "automation", "cron"])),
                "has_snapshot": _mostly(st.booleans()),
                "data": _DATA,
                "template_key": _mostly(st.sampled_from(["employees", "contacts"])),
                "environment_name": _mostly(st.sampled_from(["Production", "Staging"])),
                "embed_jwt": TOKENS,
                "token": st.just("5fd6a161-86f1-4514-9e92-0660e19ad5c2"),
                "Uuid": ANYTHING,
                "new_field": ANYTHING,
                "created_at": _CREATED_AT,
            },
        ).flatmap(lambda event: _CREATED_AT.map(lambda moment: {"created_at": moment, **event}))
    ]
    * 12,
    ANYTHING,
)

DELIVERIES = st.builds(
    Delivery,
    event=EVENTS,
    token=TOKENS,
    embed_id=st.sampled_from([11, 12, 13, None]),
    template_key=st.sampled_from(["employees", None]),
    environment_name=st.sampled_from(["Production", None]),
    source=st.sampled_from(["api", "api", "webhook"]),
    fetched_at=_FETCHED_AT,
)
