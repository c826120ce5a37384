"""Whatever a token claims, and whichever of it is encrypted: flattening gives back what was there, digit by digit."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.flatten.decryption import Decryption
from pipelines.home.layout import Home
from pipelines.keys.keyrings import Keyrings
from pipelines.keys.stored_texts import MARK
from pipelines.keys.vault import Vault
from pipelines.oneschema.claim_policy import ClaimPolicy
from pipelines.oneschema.json_text import Json, JsonText, dumps, loads_carefully
from tests.proving import examples

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(JsonText)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.one_of(st.sampled_from(["user_id", "email", "a.b", "a", "b\\", "org", MARK]), TEXTS)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
# Many of one integration, whose payloads differ in their values, and any others between them.
ALIKE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["1", "2"]), "email": TEXTS, "org": st.fixed_dictionaries({"a": TEXTS})}
)
PAYLOADS: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(ALIKE, st.dictionaries(KEYS, VALUES, max_size=5)), min_size=1, max_size=8
)
PATTERNS = st.sampled_from(["email", "org", "a*", "*id", "x"])
POLICIES = st.one_of(st.just({"*": "encrypt"}), st.dictionaries(PATTERNS, st.just("encrypt")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    Vault(home, encrypts=True).sealer("somebody")
    return home


def plain_texts(value: Json) -> set[str]:
    """The texts of a payload that are long enough not to stand in another by chance."""
    if isinstance(value, dict):
        return set[str]().union(*map(plain_texts, value.values()))
    if isinstance(value, list):
        return set[str]().union(*map(plain_texts, value))
    return {value} if type(value) is str and len(value) > 12 else set()


@settings(max_examples=examples(60))
@given(PAYLOADS, POLICIES)
def test_what_is_encrypted_comes_back(home: Home, payloads: list[Any], patterns: dict[str, str]) -> None:
    policy = ClaimPolicy(patterns, None, vault=Vault(home, encrypts=True))
    stored = [dumps(policy.apply(payload)) for payload in payloads]
    decrypted = Decryption(Keyrings(home)).decrypt(pl.Series([*stored, None]))
    expected = [dumps(loads_carefully(dumps(payload), keep_numbers=True)) for payload in payloads]
    assert decrypted["claims"].to_list() == [*expected, None]
    assert not decrypted["has_missing_key"].any()
    assert [dumps(policy.apply(payload)) for payload in payloads] == stored, "the next sweep would land it again"
    if patterns == {"*": "encrypt"}:
        for payload, text in zip(payloads, stored, strict=True):
            assert not any(dumps(value) in text for value in plain_texts(payload))


def test_a_value_that_was_moved_is_not_decrypted(home: Home) -> None:
    """Who may write to raw, and has no key, cannot make one claim out of another."""
    policy = ClaimPolicy({"*": "encrypt"}, None, vault=Vault(home, encrypts=True))
    stored = policy.apply({"email": "ana@a.example", "name": "Ana", "user_id": "1"})
    assert isinstance(stored, dict)
    moved = {"name": stored["email"], "email": stored["name"], "user_id": stored["user_id"]}
    renamed = {"other": stored["email"], "name": stored["name"], "user_id": stored["user_id"]}
    texts = [dumps(each) for each in (stored, moved, renamed)]
    # In any order: what was learned of one payload is not believed of the next.
    for order in (texts, texts[::-1]):
        decryption = Decryption(Keyrings(home))
        found = {text: decryption.decrypt(pl.Series([text]))["claims"][0] for text in order}
        assert found[texts[0]] == '{"email":"ana@a.example","name":"Ana","user_id":"1"}'
        assert found[texts[1]] == dumps(moved | {"user_id": "1"})
        assert found[texts[2]] == dumps(renamed | {"name": "Ana", "user_id": "1"})


def test_equal_values_of_two_people_or_at_two_paths_look_different(home: Home) -> None:
    policy = ClaimPolicy({"a": "encrypt", "b": "encrypt"}, None, vault=Vault(home, encrypts=True))
    first, second, other = (
        policy.apply({"user_id": user, "a": "x", "b": "x", "n": number})
        for user, number in (("1", 1), ("1", 2), ("2", 1))
    )
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert isinstance(other, dict)
    assert (first["a"], first["b"]) == (second["a"], second["b"])
    assert len({str(first["a"]), str(first["b"]), str(other["a"]), str(other["b"])}) == 4
