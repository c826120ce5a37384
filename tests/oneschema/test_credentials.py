"""The quick look that most events pass never lets through what the thorough walk would remove."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import cast
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.oneschema.credentials import REMOVED, may_hold_credentials, strip_credentials, without_credentials
from pipelines.oneschema.json_text import Json, dumps, storable
from pipelines.oneschema.known_secrets import KnownSecrets, fingerprint_of_uuid
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
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
        '{"n":1e999,"m":[' + "9" * 50 + "]}",
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
KEY = "osk_4c9d1f7be0/84+c5f"
EMBED_TOKEN = "5fd6a161-86f1-4514-9e92-0660e19ad5c2"
OTHER_UUID = "7f0d3a52-1b44-4c1e-8a67-52e1f6a1b9d0"
PLAIN = st.sampled_from([KEY, EMBED_TOKEN, EMBED_TOKEN.upper(), OTHER_UUID, JWT, "secret-01", f"Token={OTHER_UUID}"])


def percent(text: str) -> str:
    return "".join(f"%{ord(character):02X}" for character in text)


def in_base64(parts: Iterable[str]) -> str:
    return base64.b64encode("".join(parts).encode()).decode()


def in_base64url(parts: Iterable[str]) -> str:
    return base64.urlsafe_b64encode("".join(parts).encode()).decode()


SPELLED = st.one_of(
    PLAIN,
    PLAIN.map(lambda text: quote(text, safe="")),
    PLAIN.map(percent),
    PLAIN.map(lambda text: quote(percent(text))),
    PLAIN.map(lambda text: "".join(f"\\u00{ord(character):02x}" for character in text)),
    *(
        st.tuples(st.text("a?~ÿ", max_size=5), PLAIN, st.text("a?~ÿ", max_size=5)).map(encode)
        for encode in (in_base64, in_base64url)
    ),
)
AROUND = st.lists(TEXTS | SPELLED | SPELLED, max_size=3).map("".join)
NAMES = st.sampled_from(["token", "User_JWT", "x", "validation_error_counts", "session_token"])
HOLDING = st.recursive(
    TEXTS | SECRETS | st.tuples(SECRETS, TEXTS).map("".join) | AROUND | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
KNOWN = KnownSecrets([KEY])
FINGERPRINT = fingerprint_of_uuid(EMBED_TOKEN)


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(300), deadline=None)
@given(value=HOLDING, more=st.sampled_from([0, 0, 19, 20, 40]))
def test_what_is_removed_is_what_the_slow_reference_removes(value: Json, more: int) -> None:
    secrets: list[Json] = [f"{number} more secrets" for number in range(more)]
    event: Json = {"event": value, "token": secrets, "note": "see 7 more secrets"}
    expected = slow_credentials.without_credentials(event, KEY, EMBED_TOKEN)
    assert without_credentials(event, KNOWN, FINGERPRINT) == expected
    assert strip_credentials(event, KNOWN, FINGERPRINT)[0] == expected


@pytest.mark.prove
@settings(max_examples=examples(300), deadline=None)
@given(value=AROUND)
def test_what_the_quick_look_clears_holds_nothing(value: str) -> None:
    event: Json = {"note": value}
    if not may_hold_credentials(dumps(event).encode(), KNOWN, FINGERPRINT):
        assert slow_credentials.without_credentials(event, KEY, EMBED_TOKEN) == event


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
    "runs of base64": lambda n: "aGVsbG8gd29ybGQ " * (n // 16),
    "one run of base64": lambda n: "aGVs" * (n // 4),
    "escapes": lambda n: "%2525" * (n // 5),
    "backslashes": lambda n: "\\" * n,
    "backslashes and what is not an escape": lambda n: "\\\\u00g1" * (n // 7) + "\\u0041",
    "half a secret": lambda n: KEY[:-1] * (n // len(KEY)),
    "uuids": lambda n: f"{OTHER_UUID} token" * (n // 42),
    "digits of uuids": lambda n: "0123456789abcdef" * (n // 16) + "-" * 9,
    "names of tokens": lambda n: "token" * (n // 5) + "-" * 9,
    "spaces behind names": lambda n: "token   " * (n // 8) + "-" * 9,
    "plus signs": lambda n: "+" * n + ".a.b",
}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("family", HOSTILE)
def test_the_search_is_linear_in_the_event(family: str) -> None:
    def search(event: object) -> None:
        may_hold_credentials(dumps(event).encode(), KNOWN, FINGERPRINT)
        without_credentials(cast("Json", event), KNOWN, FINGERPRINT)

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


def test_digests_of_events_without_credentials_stay_as_they_were() -> None:
    """Else every event that is held would be news again. They were computed before secrets were looked for in every
    spelling."""
    simulation = Simulation(SimulatorOptions(embeds=200, error_counts="everywhere"))
    digest = hashlib.blake2b(digest_size=16)
    for index in range(len(simulation.world.ids)):
        for event in simulation.world.events(index):
            for text in (simulation.event_json(event), simulation.full_json(event)):
                digest.update(strip_credentials(json.loads(text), KNOWN, FINGERPRINT)[1])
    assert digest.hexdigest() == "1224679ccf77918c8cb8cbf226ca0d07"


@pytest.mark.parametrize(
    ("event", "digest"),
    [
        ({"data": {"note": "100% of 50%25 and %41%2D"}, "created_at": 1706112805.5}, "df90c808"),
        ({"data": {"sheet_id": OTHER_UUID, "sha": "0123456789abcdef" * 4}}, "d3a2505d"),
        (
            {"data": {"content": base64.b64encode(b"This is a long text in base64, no secret").decode()}},
            "d23a0c54",
        ),
        ({"data": {"url": f"https://files.example/a/b/c-d_e/{OTHER_UUID}.csv?page=2&q=a%20b#x"}}, "ceba0ee0"),
        ({"data": {"json": '{"a":"\\u00e9\\u0041","b":[1.5,2.5]}'}}, "dd839f40"),
        ({"data": {"validation_error_counts": {"token": {"MISSING": 3}, "token_id": {"PICKLIST": 1}}}}, "81199e01"),
        ({"data": {"hosts": ["a.b.example.com", "1.2.3.4", "v1.2.3-rc.4"], "path": "C:\\Users\\x"}}, "05019b58"),
        (
            {"extra": {"token_count": 7, "tokens": ["word", "a word"], "hooks": [{"secret": "a word"}]}},
            "802e0e9a",
        ),
    ],
)
def test_digests_of_odd_events_without_credentials_stay_as_they_were(event: Json, digest: str) -> None:
    kept, text = strip_credentials(event, KNOWN, FINGERPRINT)
    assert kept == event
    assert hashlib.blake2b(text, digest_size=16).hexdigest()[:8] == digest


def test_the_secret_of_a_validation_hook_is_a_credential() -> None:
    template: Json = {"validation_hooks": [{"url": "https://x.example", "secret": "a hook's secret"}], "secret": "word"}
    kept, _ = strip_credentials({"template": template, "note": "it is a hook's secret"})
    assert kept == {
        "template": {"validation_hooks": [{"url": "https://x.example"}], "secret": "word"},
        "note": f"it is {REMOVED}",
    }
