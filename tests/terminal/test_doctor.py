"""`embed-analytics doctor` on a real home and a real API: what is wrong is named, with the way out."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.keys.keyrings import open_or_create
from pipelines.settings import Settings
from pipelines.simulator.server import RunningSimulator
from pipelines.terminal.doctor import CLOCK_SECONDS, Finding, compare_clocks, examine, examine_digest, looks_personal
from tests.poll.sweeping import settings_for
from tests.terminal.test_cli import run

pytestmark = pytest.mark.slow


def of(simulator: RunningSimulator, **settings: str) -> dict[str, str]:
    return {
        "ONESCHEMA_API_KEY": simulator.api_key,
        "ONESCHEMA_API_URL": simulator.url,
        "ONESCHEMA_RETENTION_DAYS": "30",
        "EMBED_ANALYTICS_CLAIM_POLICY": '{"*email*": "keep", "*address*": "keep"}',
        **settings,
    }


def findings(folder: Path, **settings: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and by topic the level and the text of each finding."""
    done = run(folder, "doctor", **settings)
    assert done.stderr == ""
    found: dict[str, tuple[str, str]] = {}
    for line in done.stdout.splitlines():
        topic = line[8:21].strip()
        assert topic not in found
        found[topic] = line[:8].strip(), line[21:]
    return done.returncode, found


def test_a_home_that_is_well(folder: Path, simulator: RunningSimulator) -> None:
    code, found = findings(folder, **of(simulator))
    assert code == 0
    topics = {"versions", "key", "clock", "retention", "permissions", "disk", "kept here", "event types", "claims"}
    assert found.keys() == topics
    assert {topic for topic, (level, _) in found.items() if level != "ok"} <= {"event types"}
    assert simulator.url in found["key"][1]


def test_what_a_setting_lets_expire(folder: Path, simulator: RunningSimulator) -> None:
    _, found = findings(folder, **of(simulator))
    assert found["kept here"] == ("ok", "for good: no setting removes anything but earlier warehouses, by their number")
    _, found = findings(folder, **of(simulator, EMBED_ANALYTICS_KEEP_QUARANTINE_DAYS="30"))
    assert found["kept here"][1].startswith("quarantine for 30 days (the oldest is of ")


def test_a_key_that_is_refused_is_not_shown(folder: Path, simulator: RunningSimulator) -> None:
    code, found = findings(folder, **of(simulator, ONESCHEMA_API_KEY="osk_wrong"))
    assert code == 1
    assert found["key"][0] == "problem"
    assert "401" in found["key"][1]
    assert "osk_wrong" not in str(found)
    # What needs no key was looked at.
    assert found["retention"][0] == found["permissions"][0] == "ok"


def test_a_key_of_another_organisation(folder: Path, simulator: RunningSimulator) -> None:
    path = folder / "home" / "home.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"organisation": "Somebody else"}))
    code, found = findings(folder, **of(simulator))
    assert code == 1
    assert found["home"][0] == "problem"
    assert "Somebody else" in found["home"][1]


@pytest.mark.parametrize(
    ("days", "cron", "level", "words"),
    [
        ("", "7 * * * *", "note", "ONESCHEMA_RETENTION_DAYS is not set"),
        ("7", "0 0 * * 1", "problem", "refresh more often"),
        ("30", "0 0 * * 1", "ok", "30 days"),
    ],
)
def test_retention(folder: Path, simulator: RunningSimulator, days: str, cron: str, level: str, words: str) -> None:
    settings = of(simulator, ONESCHEMA_RETENTION_DAYS=days, EMBED_ANALYTICS_REFRESH_CRON=cron)
    code, found = findings(folder, **settings)
    assert found["retention"][0] == level
    assert words in found["retention"][1]
    assert code == (level == "problem")


def test_a_home_that_everybody_can_enter(folder: Path, simulator: RunningSimulator) -> None:
    (folder / "home").chmod(0o705)
    code, found = findings(folder, **of(simulator))
    assert code == 1
    assert found["permissions"][0] == "problem"
    assert "chmod o-rwx" in found["permissions"][1]


def test_claims_that_look_personal(folder: Path, simulator: RunningSimulator) -> None:
    code, found = findings(folder, **of(simulator, EMBED_ANALYTICS_CLAIM_POLICY=""))
    assert code == 0
    level, text = found["claims"]
    assert level == "note"
    assert "email" in text
    assert "EMBED_ANALYTICS_CLAIM_POLICY" in text


def test_a_policy_that_hashes_without_a_key(folder: Path, simulator: RunningSimulator) -> None:
    code, found = findings(folder, **of(simulator, EMBED_ANALYTICS_CLAIM_POLICY='{"email": "hash"}'))
    assert code == 1
    level, text = found["claims"]
    assert level == "problem"
    assert "EMBED_ANALYTICS_CLAIM_HASH_KEY" in text
    # The rest was looked at.
    assert found["key"][0] == "ok"
    assert "event types" in found


def test_a_policy_without_a_key_before_the_first_refresh(tmp_path: Path, simulator: RunningSimulator) -> None:
    code, found = findings(tmp_path, **of(simulator, EMBED_ANALYTICS_CLAIM_POLICY='{"email": "hash"}'))
    assert code == 1
    assert found["claims"][0] == "problem"


def test_a_warehouse_that_is_damaged(folder: Path, simulator: RunningSimulator) -> None:
    path = folder / "home" / "warehouse.duckdb"
    path.write_bytes(b"no database" * 1000)
    code, found = findings(folder, **of(simulator))
    assert code == 1
    level, text = found["warehouse"]
    assert level == "problem"
    assert str(path) in text
    assert "`embed-analytics publish`" in text


def test_a_home_that_is_not_there_yet(tmp_path: Path, simulator: RunningSimulator) -> None:
    code, found = findings(tmp_path, **of(simulator))
    assert code == 0
    assert found["home"][0] == found["warehouse"][0] == "note"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("path", "is_personal"),
    [
        ("email", True),
        ("user.eMail", True),
        ("userEmailAddress", True),
        ("contact_phone", True),
        ("https://acme\\.example/first_name", True),
        ("dateOfBirth", True),
        ("client_ip", True),
        ("org.name", False),
        ("plan", False),
        ("membership", False),
        ("user_id", False),
        ("zip", False),
        ("", False),
    ],
)
def test_which_keys_look_personal(path: str, is_personal: bool) -> None:
    assert looks_personal(path) == is_personal


def test_the_clock() -> None:
    ours = datetime(2026, 1, 1, tzinfo=UTC)

    def level(theirs: datetime | None) -> str:
        (finding,) = compare_clocks(theirs, ours)
        return finding.level

    assert level(None) == "note"
    assert {level(ours + timedelta(seconds=s)) for s in (0, CLOCK_SECONDS, -CLOCK_SECONDS)} == {"ok"}
    (ahead,) = compare_clocks(ours - timedelta(hours=1), ours)
    (behind,) = compare_clocks(ours + timedelta(hours=1), ours)
    assert ahead.level == behind.level == "problem"
    assert "3600 s ahead of" in ahead.text
    assert "3600 s behind" in behind.text


def test_a_digest_that_cannot_be_sent() -> None:
    def found(**settings: str) -> list[Finding]:
        return list(examine_digest(Settings.defaults(**settings)))

    assert found() == []
    hook = {"embed_analytics_digest_webhook_url": "https://hooks.example/secret-path"}
    assert found(**hook) == [Finding("ok", "digest", "goes to: webhook")]
    half = {**hook, "embed_analytics_digest_to": "ann@example.com"}
    (problem,) = found(**half)
    assert problem.level == "problem"
    assert "EMBED_ANALYTICS_SMTP_URL and EMBED_ANALYTICS_DIGEST_FROM" in problem.text
    whole = {**half, "embed_analytics_smtp_url": "smtps://h", "embed_analytics_digest_from": "d@example.com"}
    assert found(**whole) == [Finding("ok", "digest", "goes to: webhook, mail to ann@example.com")]
    (problem,) = found(**whole, embed_analytics_digest_cron="weekly")
    assert "EMBED_ANALYTICS_DIGEST_CRON" in problem.text


def test_keys_of_encrypted_claims(tmp_path: Path, simulator: RunningSimulator) -> None:
    settings = settings_for(simulator, tmp_path / "home")
    home = settings.home
    home.root.mkdir(mode=0o700)

    def of_keys() -> list[tuple[str, str]]:
        return [(each.level, each.text) for each in examine(settings) if each.topic == "keys"]

    assert of_keys() == []
    open_or_create(home).close()
    ((level, _),) = of_keys()
    assert level == "ok"
    home.keys.chmod(0o755)
    ((level, text),) = of_keys()
    assert (level, "chmod go-rwx" in text) == ("problem", True)
    home.keys.rename(tmp_path / "elsewhere")
    ((level, text),) = of_keys()
    assert (level, "put your copy of keys.sqlite there" in text) == ("problem", True)
    home.keys.mkdir(mode=0o700)
    home.key_store.write_bytes(b"no keys" * 1000)
    ((level, text),) = of_keys()
    assert (level, "is damaged" in text) == ("problem", True)
