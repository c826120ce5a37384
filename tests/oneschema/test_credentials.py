"""The quick look that most events pass never lets through what the thorough walk would remove."""

import base64
import json
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.oneschema.credentials import REMOVED, may_hold_credentials, strip_credentials, without_credentials
from pipelines.oneschema.json_text import Json, dumps, storable
from tests.flatten.payloads import EVENTS, TOKENS, base64url, sign
from tests.linear_time import MOST, worst_ratio
from tests.oneschema import slow_credentials
from tests.proving import examples

JWT = sign('{"iss":"client-1","user_id":"u"}', "secret")


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(400))
@given(event=EVENTS, tokens=st.lists(TOKENS, min_size=3, max_size=3), where=st.sampled_from(["note", "token", "Token"]))
def test_the_quick_way_ends_in_what_the_thorough_way_says(event: Json, tokens: list[Json], where: str) -> None:
    if isinstance(event, dict):
        event |= {"embed_jwt": tokens[0], where: tokens[1], "repeated": {"deep": [tokens[0], tokens[2]]}}
    kept, text = strip_credentials(event)
    assert kept == without_credentials(storable(event))
    assert text.decode() == dumps(kept) or json.loads(text) == kept


@pytest.mark.parametrize("secret", [JWT, "short-one", 'a "quoted" secret', "läng.st.e", {"nested": "in an object"}])
@pytest.mark.parametrize("where", ["{}", "before {} behind", "https://x.example/?t={}&x=1"])
def test_a_repetition_of_a_removed_value_is_removed(secret: str | dict[str, Json], where: str) -> None:
    text = secret if isinstance(secret, str) else secret["nested"]
    kept, written = strip_credentials({"embed_jwt": secret, "note": where.format(text)})
    assert kept == {"note": where.format("<credential removed>")}
    assert json.loads(written) == kept


def test_the_event_itself_stays_as_it_was() -> None:
    event: dict[str, Json] = {"uuid": "event-1", "embed_jwt": JWT}
    assert strip_credentials(event)[0] == {"uuid": "event-1"}
    assert event == {"uuid": "event-1", "embed_jwt": JWT}


# Pieces of which a text becomes nearly a JWT: headers, what looks like one, and letters between.
HEADERS = st.sampled_from(
    [
        '{"alg":"HS256"}',
        '{ "a":[{"b":{}}] }',
        '{"a":"}{\\"{"}',
        '{"n":1e999,"m":[' + "9" * 5000 + "]}",
        '{"a":{"b',
        '{"open',
        '"}',
        "}",
        '{"a":\\{"b":1}',
        '\\\\"{"a":1}',
        "[1]",
        '{"\xe9":1}',
    ]
)
PIECES = st.one_of(
    st.lists(HEADERS, min_size=1, max_size=3).map(lambda parts: base64url("".join(parts).encode("latin-1"))),
    st.sampled_from([".", ".", "..", "=", "==", "a", "ey", "+/", "-_", " ", JWT, "0123456789"]),
    st.text("aeyJ.=", max_size=4),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
SECRETS = st.sampled_from(["secret-0", "secret-01", "secret-012", "short", "ecret-01", "another one", "[REMOVED]x"])
HOLDING = st.recursive(
    TEXTS | SECRETS | st.tuples(SECRETS, TEXTS).map("".join) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["token", "User_JWT", "note", "x", "validation_error_counts"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(800))
@given(value=HOLDING, more=st.sampled_from([0, 19, 20, 40]))
def test_what_is_removed_is_what_the_slow_reference_removes(value: Json, more: int) -> None:
    secrets: list[Json] = [f"{number} more secrets" for number in range(more)]
    event: Json = {"event": value, "token": secrets, "note": "see 7 more secrets"}
    assert without_credentials(event) == slow_credentials.without_credentials(event)


# Each makes about so many bytes of what a careless search goes through again and again.
HOSTILE: dict[str, Callable[[int], object]] = {
    "secrets, and texts": lambda n: {"token": [f"secret {i:08}" for i in range(n // 40)], "x": ["a text"] * (n // 20)},
    "secrets that begin alike, and a text": lambda n: {
        "token": [f"{'a' * 30}{i:08}" for i in range(n // 80)],
        "x": "a" * (n // 2),
    },
    "twenty secrets, and a text": lambda n: {"token": [f"{'a' * 2000}{i}" for i in range(20)], "x": "a" * n},
    "a long secret, and texts of half of it": lambda n: {"token": "a" * (n // 2) + "b", "x": ["a" * (n // 8)] * 4},
    "secrets below secrets": lambda n: {"token": [{"token": [{"user_jwt": f"secret {i:08}"}]} for i in range(n // 50)]},
    "a header that opens objects": lambda n: base64url(b'{"a":' * (n // 8) + b"}") + ".e30.x",
    "a header that opens and closes objects": lambda n: base64url(b'{"a":{}' * (n // 11) + b"}") + ".e30.x",
    "a header that opens strings": lambda n: base64url(b'{"' * (n * 3 // 8) + b"}") + ".e30.x",
    "a header of backslashes": lambda n: base64url(b'{"' + b"\\" * (n * 3 // 4) + b"}") + ".e30.x",
    "a header that nests": lambda n: base64url(b'{"a":' * (n // 9) + b"1" + b"}" * (n // 9)) + ".e30.x",
    "a header that is a number": lambda n: base64url(b'{"a":' + b"9" * (n * 3 // 4) + b"}") + ".e30.x",
    "headers and no end": lambda n: ".".join(["eyJhIjoxfQ"] * (n // 11)) + ".=",
    "headers with an end": lambda n: ".".join(["eyJhIjoxfQ"] * (n // 11)),
    "openings of headers": lambda n: "eyJ" * (n // 3) + ".a.b",
    "dots": lambda n: "." * n,
    "dots and letters": lambda n: "a." * (n // 2),
    "dots and equals signs": lambda n: ".=" * (n // 2),
    "equals signs": lambda n: "ey.." + "ey=" * (n // 3) + ".a.b",
    "letters and a dot": lambda n: "ey" + "a" * n + ".=.",
    "plus signs": lambda n: "+" * n + ".a.b",
}


@pytest.mark.slow
@pytest.mark.parametrize("family", HOSTILE)
def test_twice_the_event_takes_about_twice_the_time(family: str) -> None:
    def search(event: object) -> None:
        may_hold_credentials(dumps(event).encode())
        without_credentials(cast("Json", event))

    worst, took = worst_ratio(search, HOSTILE[family])
    assert worst <= MOST, (family, took)


def test_a_removed_value_never_survives_however_many_there_are() -> None:
    secrets: list[Json] = [base64.b64encode(f"{number} of many".encode()).decode() for number in range(300)]
    notes: list[Json] = [f"before {secret} behind" for secret in secrets]
    event: Json = {"token": secrets, "note": notes, "other": "stays"}
    kept, text = strip_credentials(event)
    assert not any(str(secret) in text.decode() for secret in secrets)
    assert kept == {"note": [REMOVED] * 300, "other": "stays"}


def test_a_header_with_a_number_that_python_refuses_to_read_is_one() -> None:
    token = sign('{"iss":"client-1"}', "secret", '{"alg":"HS256","n":' + "9" * 5000 + "}")
    assert strip_credentials({"note": f"see {token}"})[0] == {"note": "see <credential removed>"}
