"""Credentials that a webhook's body repeats, readable or not: none is in the journal, in raw or in the quarantine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from pydantic import SecretStr

from pipelines.home.layout import Home
from pipelines.oneschema.known_secrets import fingerprint_of_uuid
from pipelines.poll.opening import open_state
from pipelines.simulator.echoes import echoes
from tests.poll.sweeping import raw_events
from tests.spellings import found_in, spelled
from tests.webhooks.receiving import SECRET, ingest, journal_files, running_receiver, settings_of

KEY = "osk_4c9d1f7be0/84+c5f"
HASH_KEY = "hash-key-8f1d0c"
CLIENT_SECRET = "client-secret-77aa01"
EMBED_TOKEN = "5fd6a161-86f1-4514-9e92-0660e19ad5c2"
EVENT: dict[str, Any] = orjson.loads((Path(__file__).parents[1] / "simulator/fixtures/webhook_event.json").read_bytes())
JWT = EVENT["embed_jwt"]


@pytest.fixture
def settings(home: Path) -> Any:
    return settings_of(
        home,
        oneschema_api_key=SecretStr(KEY),
        embed_analytics_claim_hash_key=SecretStr(HASH_KEY),
        oneschema_client_secrets={"a client": SecretStr(CLIENT_SECRET)},
    )


def kept(home: Path) -> Iterator[str]:
    """Every text of the journal and of raw."""
    for path in journal_files(home):
        yield path.read_bytes().decode()
    for path in (home / "raw").rglob("*.parquet"):
        for column in pl.read_parquet(path).select(pl.col(pl.String())).iter_columns():
            yield from column.drop_nulls()


def left(home: Path, secrets: list[str]) -> set[str]:
    spellings = {spelling for secret in secrets for spelling in spelled(secret)}
    return {spelling for text in kept(home) for spelling in found_in(text, spellings)}


def test_secrets_of_the_settings_that_a_body_repeats_are_not_kept(home: Path, settings: Any) -> None:
    known = [KEY, HASH_KEY, CLIENT_SECRET, SECRET, JWT]
    with running_receiver(home, settings=settings) as receiver:
        for number, secret in enumerate(known[:-1]):
            event = {**EVENT, "uuid": f"event-{number}", "template": "x"}
            body = orjson.dumps({**event, **echoes(event, secret, EMBED_TOKEN, JWT)})
            assert receiver.push(body).json() == {"status": "stored"}
            # Neither is JSON: the first names credentials, the other nothing that tells where one ends.
            assert "warning" in receiver.push(body[:-1]).json()
            debug = echoes(event, secret, EMBED_TOKEN, None)["debug"]
            assert isinstance(debug, dict)
            del debug["resume_url"]
            assert "warning" in receiver.push(orjson.dumps({"uuid": event["uuid"], "debug": debug})[:-1]).json()
    assert left(home, known) == set()
    ingest(home, settings)
    assert raw_events(home)["event_uuid"].drop_nulls().n_unique() == len(known) - 1
    assert left(home, known) == set()
    texts = pl.read_parquet(home / "raw" / "unreadable" / "*.parquet")["text"].drop_nulls()
    assert texts.len() == len(known) - 1
    assert texts.str.contains("before <credential removed> behind", literal=True).all()
    # Whatever its name, where nobody can tell a name.
    assert not any(EMBED_TOKEN in text for text in texts)


def test_the_token_of_a_known_embed_is_not_landed_under_any_name(home: Path, settings: Any) -> None:
    with open_state(Home(home)) as state:
        state.connection.execute(
            "insert into embeds (embed_id, jwt_status, embed_token_fingerprint, first_seen_at) "
            "values (?, 'missing', ?, 0)",
            (EVENT["embed_id"], fingerprint_of_uuid(EMBED_TOKEN)),
        )
        state.connection.commit()
    with running_receiver(home, settings=settings) as receiver:
        receiver.push(orjson.dumps({**EVENT, **echoes(EVENT, KEY, EMBED_TOKEN, None)}))
    ingest(home, settings)
    assert raw_events(home).height == 1
    assert left(home, [EMBED_TOKEN]) == set()
