"""Claims that the policy encrypts: plain in the lake and the warehouse, and nowhere else; gone with their keys."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import orjson
import polars as pl
import pytest
from pydantic import SecretStr

from pipelines import steps
from pipelines.errors import ConfigurationError
from pipelines.evidence.verify import verify
from pipelines.home.layout import Home
from pipelines.keys.keyrings import open_or_create
from pipelines.keys.stored_texts import MARK
from pipelines.oneschema.claim_policy import user_subject
from pipelines.oneschema.tokens import TokenReader
from pipelines.raw.unreadable import UnreadableBody
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.run_checks import CheckResult
from tests.flatten.payloads import sign
from tests.pipeline.test_secrets import texts_below
from tests.poll.sweeping import raw_events, settings_for, sweep
from tests.webhooks.receiving import SECRET, full_events, ingest, landed_uuids, running_receiver

HASH_KEY = "key of the hashes"
POLICY = {"email": "encrypt", "name": "encrypt", "user_id": "encrypt", "roles": "encrypt"}


def spellings(claims: dict[str, Any]) -> set[str]:
    """The personal values of a payload, as any file may write them."""
    found = {claims["email"], claims["name"], f'"user_id":{claims["user_id"]}'}
    return found | {json.dumps(text)[1:-1] for text in found}


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=30, days=4, days_ahead=3)) as simulator:
        yield simulator


def pushed(simulator: RunningSimulator) -> list[bytes]:
    return list(full_events(simulator.simulation))[:60]


@pytest.fixture(scope="module")
def polled(simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home after webhooks and a refresh by Dagster."""
    home = tmp_path_factory.mktemp("account") / "home"
    settings = settings_for(
        simulator, home, embed_analytics_claim_policy=POLICY, embed_analytics_webhook_secrets=(SECRET,)
    )
    events = list(map(orjson.loads, pushed(simulator)))
    push(settings, *events[:30])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {
        "ONESCHEMA_API_KEY": simulator.api_key,
        "ONESCHEMA_API_URL": simulator.url,
        "EMBED_ANALYTICS_HOME": str(home),
        "EMBED_ANALYTICS_CLAIM_POLICY": json.dumps(POLICY),
    }
    command = [sys.executable, "-m", "pipelines", "refresh"]
    done = subprocess.run(command, env=environment, cwd=home.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # These stay in the journal.
    push(settings, *events[30:])
    return settings


def payloads(simulator: RunningSimulator) -> dict[str, dict[str, Any]]:
    """By uuid the claims of each event that the API shows."""
    return {
        event["uuid"]: event["claims"]
        for event in simulator.truth()
        if event["claims"] is not None and event["is_visible"]
    }


@pytest.mark.slow
def test_no_value_is_in_raw_state_journal_or_run_history(simulator: RunningSimulator, polled: Settings) -> None:
    home = polled.embed_analytics_home
    wanted = set[str]().union(*map(spellings, payloads(simulator).values()))
    assert len(wanted) > 30
    folders = {name: texts_below(home / name) for name in ("raw", "state", "webhooks", "dagster")}
    assert any((home / "webhooks").glob("*.journal"))
    for name, texts in folders.items():
        for path, text in texts.items():
            assert not any(value in text for value in wanted), (name, path)
            content = path.read_bytes()
            assert not any(value.encode() in content for value in wanted), (name, path)
    assert MARK in "".join(folders["raw"].values())
    assert MARK in "".join(folders["state"].values())
    assert MARK in "".join(folders["webhooks"].values())
    # The search finds what is there.
    lake = "".join(texts_below(home / "lake").values())
    assert all(any(each in lake for each in spellings(claims)) for claims in payloads(simulator).values())


@pytest.mark.slow
def test_the_warehouse_has_what_a_home_without_encryption_has(
    simulator: RunningSimulator, polled: Settings, tmp_path: Path
) -> None:
    plain = polled.model_copy(update={"embed_analytics_claim_policy": {}, "embed_analytics_home": tmp_path / "home"})
    push(plain, *map(orjson.loads, pushed(simulator)[:30]))
    sweep(plain)
    expected = claims_in_lake(plain)
    with duckdb.connect(polled.home.warehouse, read_only=True) as connection:
        rows = connection.execute("select event_uuid, claims::varchar from stg_embed_events").fetchall()
        users = connection.execute("select distinct user_id from fct_embeds where user_id is not null").fetchall()
    assert {uuid: None if claims is None else json.loads(claims) for uuid, claims in rows} == expected
    assert {user for (user,) in users} == {str(claims["user_id"]) for claims in expected.values() if claims}
    # Nor do deliveries of one event in two channels contradict each other more often.
    (ours, theirs) = (steps.flatten(each, on_wait=lambda _: None, redo=ALL_DAYS) for each in (polled, plain))
    assert ours.merged_count >= 30
    assert ours.conflict_count == theirs.conflict_count


def published(settings: Settings) -> tuple[dict[str, CheckResult], dict[str, Any]]:
    """The checks of a refresh that asks nobody, and by embed its user, e-mail and number of events."""
    steps.flatten(settings, on_wait=lambda _: None)
    report = steps.publish(settings, on_wait=lambda _: None)
    with duckdb.connect(settings.home.warehouse, read_only=True) as connection:
        # A claim that is NULL everywhere has no column.
        email = "json_extract_string(claims::varchar, '$.email')"
        rows = connection.execute(
            f"select embed_id, max(claim_user_id), max({email}), count(*) from stg_embed_events group by embed_id"
        ).fetchall()
    return {check.name: check for check in report.checks}, {embed_id: tuple(rest) for embed_id, *rest in rows}


@pytest.mark.slow
def test_a_key_that_goes_takes_its_subject_alone(polled: Settings) -> None:
    checks, before = published(polled)
    assert checks["keys_held"].passed
    user = next(user for user, *_ in before.values() if user)
    store = open_or_create(polled.home)
    key_id = store.key_of(user_subject(user)).key_id
    with closing(sqlite3.connect(polled.home.key_store)) as connection:
        row = connection.execute("select * from keys where key_id = ?", (key_id,)).fetchone()
        connection.execute("delete from keys where key_id = ?", (key_id,))
        connection.commit()
        checks, after = published(polled)
        gone = {embed_id for embed_id, (its_user, *_) in before.items() if its_user == user}
        expected = {
            embed_id: (None, None, about[2]) if embed_id in gone else about for embed_id, about in before.items()
        }
        assert after == expected
        assert (checks["keys_held"].passed, checks["keys_held"].severity) == (False, "warn")
        # A day without that subject is red for nobody.
        with duckdb.connect(polled.home.warehouse, read_only=True) as warehouse:
            (missing,) = warehouse.execute("select sum(missing_key_count) from stg_lake_days").fetchone() or (None,)
        assert missing == sum(about[2] for embed_id, about in before.items() if embed_id in gone)
        # It comes back.
        connection.execute("insert into keys values (?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    checks, again = published(polled)
    assert (again, checks["keys_held"].passed) == (before, True)
    # Raw, flattened again with the same keys, is what the lake has.
    assert verify(polled).checked.findings == []
    # On purpose: the same, and nothing is missing.
    store.erase(user_subject(user))
    checks, after = published(polled)
    assert (after, checks["keys_held"].passed) == (expected, True)


@pytest.mark.slow
def test_without_its_keys_a_home_still_runs_and_says_so(
    simulator: RunningSimulator, polled: Settings, tmp_path: Path
) -> None:
    """Each step runs, values are NULL, and what comes next gets new keys."""
    _, before = published(polled)
    polled.home.keys.rename(tmp_path / "keys")
    report = sweep(polled)
    assert report.is_complete
    checks, after = published(polled)
    assert not checks["keys_held"].passed
    assert after.keys() >= before.keys()
    assert all(after[embed_id][:2] == (None, None) for embed_id in before)
    # Every token was read again, so what comes next can be read.
    embeds = pl.concat([pl.read_parquet(path) for path in sorted(polled.home.raw_embeds.glob("*.parquet"))])
    assert embeds["claims"].str.contains(open_or_create(polled.home).keyring).any()
    # The copy comes back beside them.
    (tmp_path / "keys" / "keys.sqlite").rename(polled.home.keys / "restored.sqlite")
    checks, again = published(polled)
    assert checks["keys_held"].passed
    assert {embed_id: again[embed_id] for embed_id in before} == before


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def receiver_settings(home: Path, policy: dict[str, str]) -> Settings:
    return Settings.defaults(
        embed_analytics_home=home,
        embed_analytics_webhook_secrets=(SECRET,),
        embed_analytics_claim_policy=policy,
        embed_analytics_claim_hash_key=HASH_KEY,
    )


def event(number: int, token: str | None) -> dict[str, Any]:
    about = {"uuid": f"event-{number}", "embed_id": number, "event_type": "embed_initialized", "created_at": 1.7e9}
    return about | ({} if token is None else {"embed_jwt": token})


def push(settings: Settings, *events: dict[str, Any]) -> None:
    with running_receiver(settings.embed_analytics_home, settings=settings) as receiver:
        for each in events:
            assert receiver.push(orjson.dumps(each)).status_code == 200


ALL_DAYS = [f"2026-01-{day:02}" for day in range(1, 32)]


def claims_in_lake(settings: Settings) -> dict[str, Any]:
    steps.flatten(settings, on_wait=lambda _: None)
    files = sorted(settings.home.lake_embed_events.glob("*/*.parquet"))
    frame = pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files], how="diagonal")
    texts = dict(frame.select("event_uuid", "claims").iter_rows())
    return {uuid: None if text is None else json.loads(text) for uuid, text in texts.items()}


def test_a_text_that_looks_encrypted_stays_a_text(home: Path) -> None:
    """Also one that was taken from raw, at its own path and at another, for the same user and for others."""
    settings = receiver_settings(home, {"email": "encrypt"})
    push(settings, event(1, sign('{"user_id":"ana","email":"ana@a.example"}', "secret")))
    ingest(home, settings)
    stolen = json.loads(raw_events(home)["claims"][0])["email"]
    assert stolen.startswith(MARK)
    keyring = stolen.split(":")[1]
    texts = [
        *(stolen, stolen[:-1] + ("A" if stolen[-1] != "A" else "B"), stolen + "A", MARK, f"{MARK}{keyring}"),
        *(f"{MARK}{keyring}:text:x", f"{MARK}{keyring}:{'k' * 16}:", f"{MARK}{'0' * 16}:{'k' * 16}:AAAA"),
        f'x"{stolen}"',
    ]
    sent = {
        number: {"user_id": user, "note": text, "email": text, text: {"note": [text, 1]}, "org": {"email": text}}
        for number, (user, text) in enumerate([(user, text) for user in ("ana", "ben") for text in texts], 2)
    }
    push(settings, *(event(number, sign(json.dumps(claims), "secret")) for number, claims in sent.items()))
    # Nor does a receiver help that encrypts nothing, and never did.
    other = receiver_settings(home, {})
    push(other, event(99, sign(json.dumps(sent[2]), "secret")))
    ingest(home, settings)
    found = claims_in_lake(settings)
    assert found.pop("event-1") == {"user_id": "ana", "email": "ana@a.example"}
    assert found == {f"event-{number}": claims for number, claims in (sent | {99: sent[2]}).items()}


CLAIMS = '{"user_id":"ana","email":"ana@a.example","n":[1.50,true,null,{"email":1E+2}],"keep":{"a.b":"x"}}'
ACTIONS = ("keep", "encrypt", "hash", "drop")


def read_under(action: str) -> str:
    reader = TokenReader({}, {"email": action, "n": action}, SecretStr(HASH_KEY))
    return reader.read(sign(CLAIMS, "secret")).claims or ""


@pytest.mark.slow
@pytest.mark.parametrize("first", ACTIONS)
def test_the_policy_of_the_refresh_holds_for_what_the_journal_has_under_another(home: Path, first: str) -> None:
    """Raw holds what reading the token under the refresh's policy gives, as far as the receiver left enough of it."""
    for number, later in enumerate(ACTIONS):
        root = home.parent / later
        received = receiver_settings(root, {"email": first, "n": first})
        refreshed = receiver_settings(root, {"email": later, "n": later})
        push(received, event(number, sign(CLAIMS, "secret")))
        ingest(root, refreshed)
        (stored,) = raw_events(root)["claims"]
        in_lake = claims_in_lake(refreshed)[f"event-{number}"]
        lasting = "drop" if "drop" in (first, later) else "hash" if "hash" in (first, later) else "keep"
        assert in_lake == json.loads(read_under(lasting)), (first, later)
        assert (MARK in stored) == (later == "encrypt" and first != "drop")
        if later != "keep":
            assert "ana@a.example" not in stored


def test_old_encrypted_claims_are_read_after_the_policy_has_changed_back(home: Path) -> None:
    settings = receiver_settings(home, {"*": "encrypt"})
    push(settings, event(1, sign(CLAIMS, "secret")), event(2, sign('{"email":"nobody@a.example"}', "secret")))
    ingest(home, settings)
    assert "example" not in "".join(raw_events(home)["claims"])
    plain = receiver_settings(home, {})
    push(plain, event(3, sign(CLAIMS, "secret")))
    ingest(home, plain)
    found = claims_in_lake(plain)
    assert found["event-1"] == found["event-3"] == json.loads(CLAIMS)
    assert found["event-2"] == {"email": "nobody@a.example"}


def test_a_number_keeps_its_digits(home: Path) -> None:
    payload = '{"a":1.50,"b":123456789012345678901234567890,"c":1E+2,"d":-0,"e":"1.50","f":"","g":1e999,"user_id":1.0}'
    settings = receiver_settings(home, {"*": "encrypt"})
    push(settings, event(1, sign(payload, "secret")), event(2, sign(payload, "secret")))
    ingest(home, settings)
    claims_in_lake(settings)
    (file,) = settings.home.lake_embed_events.glob("*/*.parquet")
    assert set(pl.read_parquet(file, hive_partitioning=False)["claims"]) == {payload}


@pytest.mark.slow
def test_switching_it_on_lands_nothing_again(home: Path, simulator: RunningSimulator) -> None:
    """Digests have a key from then on, and what is held under a plain one stays known by it."""
    plain = settings_for(simulator, home)
    sweep(plain)
    events = [*map(orjson.loads, pushed(simulator)), {"no": "uuid"}]
    push(receiver_settings(home, {}), *events)
    ingest(home, plain)
    before = sorted(landed_uuids(home), key=str)
    encrypting = settings_for(simulator, home, embed_analytics_claim_policy=POLICY)
    report = sweep(encrypting, "reconcile")
    assert report.delivered_event_count >= len(before) - len(events)
    assert report.landed_event_count == 0
    push(receiver_settings(home, POLICY), *events)
    assert ingest(home, encrypting).landed_event_count == 0
    assert sorted(landed_uuids(home), key=str) == before
    # What is new has a keyed digest, in either channel, and is known by it.
    new = [event(1, None), event(2, None)]
    for _ in range(2):
        push(receiver_settings(home, POLICY), *new)
        ingest(home, encrypting)
    # Also where nothing is encrypted any more.
    push(receiver_settings(home, {}), *new)
    ingest(home, plain)
    landed = raw_events(home).filter(pl.col("event_uuid").is_in(["event-1", "event-2"]))
    assert landed.height == 2


def test_a_digest_of_the_same_event_differs_from_home_to_home(tmp_path: Path) -> None:
    digests: list[str] = []
    for name in "ab":
        settings = receiver_settings(tmp_path / name, {"email": "encrypt"})
        push(settings, event(1, sign(CLAIMS, "secret")))
        ingest(tmp_path / name, settings)
        row = raw_events(tmp_path / name).row(0, named=True)
        digests += [row["digest"], row["token_fingerprint"]]
    assert len(set(digests)) == 4


def test_a_body_that_cannot_be_read_keeps_no_text_and_no_plain_digest(home: Path) -> None:
    settings = receiver_settings(home, {"email": "encrypt"})
    body = b'{"embed_jwt": "ana@a.example'
    with running_receiver(home, settings=settings) as receiver:
        receiver.push(body)
    ingest(home, settings)
    (path,) = (home / "raw" / "unreadable").glob("*.parquet")
    row = pl.read_parquet(path).row(0, named=True)
    assert row["text"] is None
    assert row["digest"] != UnreadableBody.of(body, "webhook", "", None).digest


def test_the_extra_is_named_where_it_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the policy needs it, and where raw does."""
    settings = receiver_settings(home, {"email": "encrypt"})
    push(settings, event(1, sign(CLAIMS, "secret")))
    ingest(home, settings)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'embed-analytics\[evidence\]'"):
        TokenReader.from_settings(settings)
    with pytest.raises(
        ConfigurationError, match=r"raw has encrypted claims.*pip install 'embed-analytics\[evidence\]'"
    ):
        claims_in_lake(receiver_settings(home, {}))


def test_a_home_that_encrypts_nothing_has_no_keys(home: Path, simulator: RunningSimulator) -> None:
    settings = settings_for(simulator, home, embed_analytics_claim_policy={"email": "drop"})
    sweep(settings)
    steps.flatten(settings, on_wait=lambda _: None)
    assert not Home(home).keys.exists()
    assert not Home(home).raw_keyrings.exists()
    assert not (home / "state" / "keys.json").exists()
