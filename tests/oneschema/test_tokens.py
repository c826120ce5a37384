"""What is kept of a token, and what is not."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.oneschema.claim_paths import join, pattern
from pipelines.oneschema.tokens import ReadToken, TokenReader
from tests.flatten.payloads import base64url, sign
from tests.proving import examples

SECRET = "the secret of client-1"


def reader(policy: dict[str, str] | None = None, key: str | None = "key") -> TokenReader:
    return TokenReader({"client-1": SecretStr(SECRET)}, policy or {}, SecretStr(key) if key else None)


def claims(token: ReadToken) -> dict[str, Any]:
    assert token.claims is not None
    return json.loads(token.claims)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (sign('{"iss":"client-1"}', SECRET), "verified"),
        (sign('{"iss":"client-1"}', "another"), "invalid_signature"),
        (sign('{"iss":"client-1"}', SECRET, '{"alg":"none"}'), "invalid_signature"),
        (sign('{"iss":"client-1"}', SECRET, '{"alg":"HS512"}'), "invalid_signature"),
        (sign('{"iss":"client-1"}', SECRET).rpartition(".")[0] + ".", "invalid_signature"),
        (sign('{"iss":"client-2"}', SECRET), "unverified"),
        (sign('{"iss":7}', SECRET), "unverified"),
        (sign("{}", SECRET, '{"alg":"none"}'), "unverified"),
        (sign("[1]", SECRET), "malformed"),
        (sign("{", SECRET), "malformed"),
        (sign("{}", SECRET, "[]"), "malformed"),
        ("a.b.c", "malformed"),
        ("a.b", "malformed"),
        (f"{base64url(b'{}')}.\ud800.x", "malformed"),
        (17, "malformed"),
        ({"jwt": 1}, "malformed"),
        ("", "missing"),
        (None, "missing"),
    ],
)
def test_status(token: object, status: str) -> None:
    read = reader().read(token)
    assert read.jwt_status == status
    assert (read.claims is None) == (status in ("malformed", "missing"))
    assert (read.fingerprint is None) == (status == "missing")


def test_an_untouched_payload_keeps_its_text() -> None:
    payload = '{ "n": 1.10, "big": 123456789012345678901234567890, "e": 1E+2 }'
    assert reader().read(sign(payload, SECRET)).claims == payload


def test_numbers_keep_their_digits_where_the_payload_is_rewritten() -> None:
    read = reader({"x": "drop"}).read(
        sign('{"n":1.10,"x":1,"e":1E+2,"\\ud800":123456789012345678901234567890}', SECRET)
    )
    assert read.claims == '{"\\\\ud800":123456789012345678901234567890,"e":1E+2,"n":1.10}'


def test_neither_token_nor_signature_is_kept() -> None:
    inner = sign('{"iss":"client-1"}', SECRET)
    token = sign(
        json.dumps({"token": "abcdefgh-secret", "deep": [{"note": f"Bearer {inner}"}], "again": "abcdefgh-secret"}),
        SECRET,
    )
    read = reader().read(token)
    assert claims(read) == {"deep": [{"note": "Bearer <credential removed>"}], "again": "<credential removed>"}
    for part in (*token.split("."), *inner.split(".")):
        assert part not in f"{read}"
    assert SECRET not in f"{vars(reader())['_policy']}"


def test_an_escape_hides_no_credential() -> None:
    inner = sign('{"iss":"client-1"}', SECRET).replace("e", "\\u0065", 1)
    read = reader().read(sign('{"\\u0074oken":"abc","x":"' + inner + '"}', SECRET))
    assert claims(read) == {"x": "<credential removed>"}


def test_what_is_cached_is_bounded_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.oneschema.tokens._CACHED_CHARACTERS", 1000)
    reader = TokenReader({}, {}, None)
    tokens = [sign(f'{{"user_id":"{number}"}}', SECRET) for number in range(30)]
    first = [reader.read(token) for token in tokens]
    assert 0 < sum(map(len, reader._read)) <= 1000  # pyright: ignore[reportPrivateUsage]
    assert [reader.read(token) for token in tokens] == first


def test_a_huge_token_is_read_and_not_cached() -> None:
    token = sign(json.dumps({"x": "y" * 1_000_000}), SECRET)
    read = reader()
    assert len(claims(read.read(token))["x"]) == 1_000_000
    assert not vars(read)["_read"]


PERSON = {
    "user_id": 7,
    "email": "a@b.example",
    "org": {"email": "c@d.example", "plan": "team", "tags": ["x", None, 1.0]},
    "debug": {"trace": {"id": 1}, "level": True},
}


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ({}, PERSON),
        ({"debug": "drop"}, {key: value for key, value in PERSON.items() if key != "debug"}),
        ({"debug.*": "drop", "org": "drop"}, {"user_id": 7, "email": "a@b.example", "debug": {}}),
        ({"*": "drop", "user_id": "keep"}, {"user_id": 7}),
        ({"*": "drop", "org.plan": "keep"}, {"org": {"plan": "team"}}),
        ({"*email": "drop", "org.tags": "drop", "debug": "drop"}, {"user_id": 7, "org": {"plan": "team"}}),
    ],
)
def test_policy(policy: dict[str, str], kept: dict[str, Any]) -> None:
    assert claims(reader(policy).read(sign(json.dumps(PERSON), SECRET))) == kept


KEYS_WITH_DOTS = {
    "iss": "c",
    "https://acme.example/email": "a@b.example",
    "https://acme": {"example/email": "c@d.example"},
}


@pytest.mark.parametrize(
    ("policy", "dropped"),
    [
        # As meta_claims lists it: the key alone.
        ({r"https://acme\.example/email": "drop"}, ["https://acme.example/email"]),
        # A plain dot stands for either.
        ({"https://acme.example/email": "drop"}, ["https://acme.example/email", "https://acme"]),
        ({"https://acme.example/email": "drop", r"https://acme\.example/email": "keep"}, ["https://acme"]),
        ({r"https://*\.example/*": "drop"}, ["https://acme.example/email"]),
    ],
)
def test_a_policy_writes_paths_as_meta_claims_does(policy: dict[str, str], dropped: list[str]) -> None:
    kept = claims(reader(policy).read(sign(json.dumps(KEYS_WITH_DOTS), SECRET)))
    assert [key for key, value in KEYS_WITH_DOTS.items() if kept.get(key) != value] == dropped


TWICE = (
    '{"iss":"client-2","iss":"client-1","user_id":"first: 1","user_id":"last",'
    '"org":{"plan":"a"},"org":{"plan":"b","plan":"c"}}'
)


@pytest.mark.parametrize("policy", [{}, {"zzz": "drop"}])
@pytest.mark.parametrize("payload", [TWICE, TWICE.replace("last", "\\u006cast"), TWICE.replace('":', '"\n : ')])
def test_of_a_claim_that_is_named_twice_the_last_one_holds(payload: str, policy: dict[str, str]) -> None:
    """Whoever reads the text: of a key that stands twice, DuckDB takes the first."""
    read = reader(policy).read(sign(payload, SECRET))
    assert read.claims == '{"iss":"client-1","org":{"plan":"c"},"user_id":"last"}'
    assert read.jwt_status == "verified"


def test_hash_replaces_every_scalar_below_its_path() -> None:
    read = reader({"*": "keep", "org": "hash", "org.plan": "keep", "user_id": "hash"})
    found = claims(read.read(sign(json.dumps(PERSON), SECRET)))
    # printf 7 | openssl dgst -sha256 -hmac key
    assert found["user_id"] == "01235b0d2aa4a5daba7243a9228194c8eff913ac5e56e967301210270380bc42"
    assert found["org"]["plan"] == "team"
    assert found["org"]["tags"][1] is None
    assert len(found["org"]["tags"][0]) == len(found["org"]["email"]) == 64
    assert found["email"] == PERSON["email"]


def test_policies_that_cannot_be_carried_out() -> None:
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_CLAIM_HASH_KEY"):
        reader({"email": "hash"}, key=None)
    with pytest.raises(ConfigurationError, match="'shred'"):
        reader({"email": "shred"})
    with pytest.raises(ConfigurationError, match="ONESCHEMA_CLIENT_SECRETS"):
        TokenReader({"client-1": SecretStr("")}, {}, None)


OBJECTS = st.recursive(
    st.none() | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("aAb.", max_size=2), inner, max_size=2),
    max_leaves=6,
)
PATTERNS = st.lists(st.text("aAb.*", min_size=1, max_size=3), max_size=4, unique=True)


def paths_of(value: object, *above: str) -> Iterator[str]:
    """Every path in a value, those below the elements of arrays included."""
    if isinstance(value, list):
        for element in cast(list[object], value):
            yield from paths_of(element, *above)
    if isinstance(value, dict):
        for key, element in cast(dict[str, object], value).items():
            yield join([*above, key])
            yield from paths_of(element, *above, key)


@pytest.mark.prove
@settings(max_examples=examples(300))
@given(payloads=st.lists(st.dictionaries(st.text("aAb.", max_size=2), OBJECTS, max_size=3), max_size=3), data=st.data())
def test_a_pattern_has_matched_when_it_fits_a_path_of_any_token(payloads: list[Any], data: st.DataObject) -> None:
    patterns = data.draw(PATTERNS)
    tokens = reader(dict.fromkeys(patterns, "drop"))
    for payload in data.draw(st.permutations([*payloads, *payloads])):
        tokens.read(sign(json.dumps(payload), SECRET))
    paths = {path for payload in payloads for path in paths_of(payload)}
    expected = {text: any(map(pattern(text).fullmatch, paths)) for text in patterns} if paths else {}
    assert tokens.policy_matches.found == expected


def test_paths_that_are_forgotten_do_not_change_what_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.oneschema.claim_policy._MOST_NOTED_PATHS", 3)
    tokens = reader({"id_7": "drop", "id_x": "drop"})
    for number in range(20):
        tokens.read(sign(json.dumps({f"id_{number}": 1}), SECRET))
    assert tokens.policy_matches.found == {"id_7": True, "id_x": False}
