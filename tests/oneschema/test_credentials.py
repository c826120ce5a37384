"""The quick look that most events pass never lets through what the thorough walk would remove."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.oneschema.credentials import strip_credentials, without_credentials
from pipelines.oneschema.json_text import Json, dumps, storable
from tests.flatten.payloads import EVENTS, TOKENS, sign
from tests.proving import examples

JWT = sign('{"iss":"client-1","user_id":"u"}', "secret")


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
    event = {"uuid": "event-1", "embed_jwt": JWT}
    assert strip_credentials(event)[0] == {"uuid": "event-1"}
    assert event == {"uuid": "event-1", "embed_jwt": JWT}
