"""How each request is answered, and what the journal holds afterwards."""

import base64
import json
import os
import resource
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.webhooks.receiver import MAX_BODY_BYTES
from pipelines.webhooks.secret_keys import SecretKeys
from pipelines.webhooks.server import ReceiverServer, ServeOptions
from tests.poll.sweeping import raw_events
from tests.webhooks.receiving import (
    SECRET,
    ReceiverProcess,
    basic,
    ingest,
    journal_files,
    landed_uuids,
    running_receiver,
    settings_of,
)

SAMPLE = (Path(__file__).parents[1] / "simulator" / "fixtures" / "webhook_event.json").read_bytes()


def test_the_vendors_sample_is_stored_and_lands_as_an_event_of_source_webhook(home: Path) -> None:
    with running_receiver(home) as receiver:
        answer = receiver.push(SAMPLE, **{"user-agent": "OneSchema/1.0"})
        assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
        assert ingest(home).landed_event_count == 1
    (row,) = raw_events(home).to_dicts()
    event = json.loads(SAMPLE)
    assert row["event_uuid"] == event["uuid"]
    assert row["embed_id"] == event["embed_id"]
    assert row["template_key"] == event["template_key"]
    assert row["environment_name"] == event["environment_name"]
    assert row["created_at"] == event["created_at"]
    assert json.loads(row["claims"])["user_id"] == "<USER_ID>"
    assert (row["source"], row["jwt_status"], row["odd"], row["extra"]) == ("webhook", "unverified", None, None)
    assert row["folder"] == "2024-01-24"
    assert "-webhook-" in row["sweep_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (basic(), 200),
        (basic("the-older-one"), 200),
        (basic("pässwörd: with a colon 🔑"), 200),
        (basic("pässwörd"), 401),
        (basic().replace("Basic", "basic"), 200),
        (None, 401),
        ("", 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Basic " + "A" * 5000, 401),
        (basic(""), 401),
        (basic(SECRET + "x"), 401),
        (basic(SECRET[:-1]), 401),
        (basic(SECRET, "user"), 401),
        (f"Bearer {SECRET}", 401),
        (basic().replace("Basic", "Bearer"), 401),
    ],
)
def test_only_a_secret_opens(home: Path, authorization: str | None, status: int) -> None:
    secrets = (SecretStr(SECRET), SecretStr("the-older-one"), SecretStr("pässwörd: with a colon 🔑"))
    with running_receiver(home, settings=settings_of(home, embed_analytics_webhook_secrets=secrets)) as receiver:
        headers = {} if authorization is None else {"authorization": authorization}
        answer = receiver.client.post("/events", content=SAMPLE, headers=headers)
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)
        assert receiver.metric("rejected_total", reason="unauthorized") == (status == 401)
    assert len(landed_uuids_after(home)) == (status == 200)


def landed_uuids_after(home: Path) -> list[str]:
    ingest(home)
    return landed_uuids(home)


def test_several_secrets_are_json_and_one_is_plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipelines.settings import load_settings

    monkeypatch.chdir(tmp_path)
    for text, secrets in (("plain", ["plain"]), ('["new", "old"]', ["new", "old"]), ("", [])):
        monkeypatch.setenv("EMBED_ANALYTICS_WEBHOOK_SECRETS", text)
        found = load_settings().embed_analytics_webhook_secrets
        assert [secret.get_secret_value() for secret in found] == secrets
    monkeypatch.setenv("EMBED_ANALYTICS_WEBHOOK_SECRETS", '["abc-unfinished')
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_WEBHOOK_SECRETS") as error:
        load_settings()
    assert "abc" not in str(error.value)


def test_it_does_not_start_open_unless_it_is_told_to() -> None:
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_WEBHOOK_SECRETS is missing"):
        SecretKeys([], is_open=False)
    with pytest.raises(ConfigurationError, match="empty secret"):
        SecretKeys([SecretStr(" ")], is_open=False)
    with pytest.raises(ConfigurationError, match="--no-auth"):
        SecretKeys([SecretStr("x")], is_open=True)
    assert SecretKeys([], is_open=True).accept(None)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.8.7.6", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_beyond_loopback_it_is_open_only_where_a_proxy_authenticates(home: Path, host: str, is_loopback: bool) -> None:
    settings = settings_of(home, embed_analytics_webhook_secrets=())
    if is_loopback:
        ReceiverServer(ServeOptions(settings, host, 0, is_open=True))
    else:
        with pytest.raises(ConfigurationError, match="--behind-authenticating-proxy") as error:
            ReceiverServer(ServeOptions(settings, host, 0, is_open=True))
        assert "\n" not in str(error.value)
        assert not home.exists()
        ReceiverServer(ServeOptions(settings, host, 0, is_open=True, is_behind_authenticating_proxy=True))
    # With a secret it may listen anywhere, and a proxy's word is not needed.
    ReceiverServer(ServeOptions(settings_of(home), host, 0))
    with pytest.raises(ConfigurationError, match="needs --no-auth"):
        ReceiverServer(ServeOptions(settings_of(home), host, 0, is_behind_authenticating_proxy=True))


def test_a_secret_that_is_no_utf_8_is_the_bytes_that_the_environment_has() -> None:
    keys = SecretKeys([SecretStr(os.fsdecode(b"p\xe4ss"))], is_open=False)
    assert keys.accept(b"Basic " + base64.b64encode(b":p\xe4ss"))
    assert not keys.accept(b"Basic " + base64.b64encode(b":p\xe4s"))


def test_a_body_may_have_a_mebibyte_and_no_more(home: Path) -> None:
    def event(size: int) -> bytes:
        body = b'{"uuid":"event-%d","padding":"' % size
        return body + b"x" * (size - len(body) - 2) + b'"}'

    with running_receiver(home) as receiver:
        assert receiver.push(event(MAX_BODY_BYTES)).status_code == 200
        assert receiver.push(event(MAX_BODY_BYTES + 1)).status_code == 413
        in_pieces = (
            event(3 * MAX_BODY_BYTES)[start : start + 10_000] for start in range(0, 3 * MAX_BODY_BYTES, 10_000)
        )
        chunked = receiver.client.post("/events", content=in_pieces, headers={"authorization": basic()})
        assert chunked.status_code == 413
        assert receiver.metric("rejected_total", reason="too_large") == 2
        assert receiver.push(SAMPLE).status_code == 200
    assert len(landed_uuids_after(home)) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/events", 405),
        ("HEAD", "/events", 405),
        ("PUT", "/events", 405),
        ("DELETE", "/events", 405),
        ("POST", "/healthz", 405),
        ("POST", "/", 404),
        ("POST", "/events/", 404),
        ("POST", "/events/1", 404),
        ("GET", "/nothing", 404),
    ],
)
def test_elsewhere_is_nothing(home: Path, method: str, path: str, status: int) -> None:
    with running_receiver(home) as receiver:
        answer = receiver.client.request(method, path, headers={"authorization": basic()})
        assert answer.status_code == status


def test_health_and_metrics_tell_what_there_is(home: Path) -> None:
    with running_receiver(home) as receiver:
        for _ in range(3):
            receiver.push(SAMPLE)
        receiver.push(b"nothing")
        health = receiver.client.get("/healthz")
        assert health.status_code == 200
        assert health.json()["status"] == "ok"
        assert health.json()["backlog_segments"] == 1
        assert health.json()["backlog_bytes"] > 0
        answer = receiver.client.get("/metrics")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        values = {
            (sample.name.removeprefix("embed_analytics_webhook_"), *sample.labels.values()): sample.value
            for family in families.values()
            for sample in family.samples
        }
        assert values["received_total",] == 4
        assert values["duplicates_total",] == 2
        assert values["unreadable_total", "json"] == 1
        assert values["backlog_bytes",] == health.json()["backlog_bytes"]
        assert 1 <= values["fsync_seconds_count",] <= 4


def test_a_disk_that_takes_nothing_is_a_429_and_recovers(home: Path) -> None:
    filler = b'{"uuid":"event-big","padding":"%b"}' % (b"x" * 500_000)
    handled = {"uuid": "event-after"}
    with running_receiver(home) as receiver:
        assert receiver.push(SAMPLE).status_code == 200
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # The system refuses to let a file grow: an error of the disk like any other, and partial writes before it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            refused = receiver.push(filler)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) > 0
            assert receiver.metric("rejected_total", reason="disk") == 1
            # There is room for a little still, and not for an event of any size.
            assert receiver.client.get("/healthz").status_code == 503
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert receiver.client.get("/healthz").status_code == 200
        assert receiver.push(json.dumps(handled).encode()).status_code == 200
    assert sorted(landed_uuids_after(home)) == sorted([json.loads(SAMPLE)["uuid"], "event-after"])
    assert journal_files(home) == []


def test_a_folder_that_is_gone_shows_in_the_health(home: Path) -> None:
    with running_receiver(home) as receiver:
        (home / "webhooks").rename(home / "elsewhere")
        (home / "webhooks").write_text("no folder")
        assert receiver.client.get("/healthz").status_code == 503
        (home / "webhooks").unlink()
        (home / "elsewhere").rename(home / "webhooks")
        assert receiver.client.get("/healthz").status_code == 200


@pytest.mark.slow
def test_the_command_says_in_one_line_what_is_wrong(home: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    def run(*arguments: str, **environment: str) -> Any:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EMBED_ANALYTICS_")}
        return subprocess.run(
            [sys.executable, "-m", "pipelines", "serve-webhooks", *arguments],
            cwd=Path(__file__).parents[2],
            env={**kept, "EMBED_ANALYTICS_HOME": str(home), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    missing = run()
    assert missing.returncode == 1
    assert missing.stderr.startswith("embed-analytics: EMBED_ANALYTICS_WEBHOOK_SECRETS is missing")
    assert missing.stderr.count("\n") == 1
    opened = run("--no-auth", "--host", "0.0.0.0", "--port", "0")
    assert opened.returncode == 1
    assert opened.stderr.startswith("embed-analytics: --no-auth on 0.0.0.0 would accept events from anybody")
    assert opened.stderr.count("\n") == 1
    assert not home.exists()
    with ReceiverProcess(home, tmp_path) as receiver:
        taken = run("--port", receiver.url.rpartition(":")[2], "--no-auth")
        assert taken.returncode == 1
        assert "cannot listen on 127.0.0.1" in taken.stderr
        assert taken.stderr.count("\n") == 1
        assert httpx.get(f"{receiver.url}/healthz", trust_env=False).status_code == 200
