"""A digest is sent to each channel once a period, whatever fails, is killed, or runs beside it."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.digest.ledger import PERIODS
from pipelines.digest.sending import DigestNotSentError, period_of, send_digest
from pipelines.errors import ConfigurationError, PermanentError
from pipelines.home.layout import Home
from pipelines.home.times import utc_now
from pipelines.messages.delivery import Patience
from pipelines.settings import Settings
from tests.messages.mail_server import MailHost
from tests.orchestration.alert_endpoint import AlertEndpoint
from tests.terminal.test_cli import run

# A Monday, at noon.
NOW = datetime(2026, 5, 11, 12)
# No period ends while a test runs, whenever it does.
NEVER_ENDS = "0 0 29 2 *"
ONCE = Patience(attempts=2, wait_seconds=0)


def variables(webhook: AlertEndpoint, mail: MailHost) -> dict[str, str]:
    """The settings that send to both, as environment variables."""
    return {
        "EMBED_ANALYTICS_CUSTOMER_CLAIM": "customer",
        "EMBED_ANALYTICS_DIGEST_CRON": NEVER_ENDS,
        "EMBED_ANALYTICS_DIGEST_WEBHOOK_URL": webhook.url,
        "EMBED_ANALYTICS_SMTP_URL": mail.url(),
        "EMBED_ANALYTICS_DIGEST_TO": '["ann@example.com", "bob@example.com"]',
        "EMBED_ANALYTICS_DIGEST_FROM": "digest@example.com",
    }


class Sender:
    """Sends the digest of a home to both receivers at a time. `said`: what the last run said."""

    def __init__(self, home: Home, webhook: AlertEndpoint, mail: MailHost) -> None:
        self.webhook, self.mail, self.home = webhook, mail, home
        self.settings = Settings.defaults(
            embed_analytics_home=home.root,
            embed_analytics_digest_webhook_url=webhook.url,
            embed_analytics_smtp_url=mail.url(),
            embed_analytics_digest_to='["ann@example.com", "bob@example.com"]',
            embed_analytics_digest_from="digest@example.com",
        )
        self.said: list[str] = []

    def send(self, now: datetime = NOW, **options: Any) -> None:
        self.said = []
        send_digest(self.settings, now, self.said.append, patience=ONCE, **options)

    def fails(self, now: datetime = NOW, **options: Any) -> str:
        with pytest.raises(DigestNotSentError) as failed:
            self.send(now, **options)
        return str(failed.value)

    def counts(self) -> tuple[int, int, int]:
        """How many messages the webhook, Ann and Bob have."""
        to = [taken.recipients for taken in self.mail.taken]
        return len(self.webhook.bodies), to.count(["ann@example.com"]), to.count(["bob@example.com"])


@pytest.fixture
def sender(home: Home, webhook: AlertEndpoint, mail: MailHost) -> Sender:
    return Sender(home, webhook, mail)


def test_each_channel_gets_it_once_a_period(sender: Sender) -> None:
    sender.send()
    assert sender.counts() == (1, 1, 1)
    assert sender.said == ["webhook: sent", "mail to ann@example.com: sent", "mail to bob@example.com: sent"]
    message = sender.mail.taken[0].message
    assert message["from"] == "Embed analytics <digest@example.com>"
    assert message["subject"] == f"Embed imports: {sender.webhook.messages[0].partition(': ')[2]}"
    assert {each.message["message-id"] for each in sender.mail.taken} != {message["message-id"]}
    # Until the next Monday at eight nothing more is sent.
    for now in (NOW, NOW + timedelta(days=6, hours=19, minutes=59)):
        sender.send(now)
        assert sender.counts() == (1, 1, 1)
        assert all("already sent in the period that began 2026-05-11T08:00 UTC" in line for line in sender.said)
    sender.send(NOW + timedelta(days=6, hours=20))
    assert sender.counts() == (2, 2, 2)
    sender.send(NOW + timedelta(days=6, hours=20), is_forced=True)
    assert sender.counts() == (3, 3, 3)


def test_a_channel_that_failed_is_tried_again_without_the_others(sender: Sender) -> None:
    sender.webhook.answers = [503, 503]
    sender.mail.refused = {"bob@example.com": "451 later"}
    told = sender.fails()
    assert sender.counts() == (0, 1, 0)
    assert "webhook: EMBED_ANALYTICS_DIGEST_WEBHOOK_URL answered 503. The next run tries again." in told
    assert "mail to bob@example.com: EMBED_ANALYTICS_SMTP_URL answered 451. The next run tries again." in told
    assert "secret-path" not in told
    sender.mail.refused = {}
    sender.send()
    assert sender.counts() == (1, 1, 1)
    # What passes within one run needs no other.
    sender.webhook.answers = [429]
    sender.mail.answers = ["421 busy"]
    sender.send(NOW + timedelta(days=7))
    assert sender.counts() == (2, 2, 2)


def test_a_refusal_is_told_and_the_others_get_it(sender: Sender) -> None:
    sender.webhook.answers = [404]
    assert "webhook: EMBED_ANALYTICS_DIGEST_WEBHOOK_URL answered 404." in sender.fails()
    assert sender.counts() == (0, 1, 1)
    sender.send()
    assert sender.counts() == (1, 1, 1)


def test_what_may_have_arrived_is_not_sent_again_unless_forced(sender: Sender) -> None:
    sender.webhook.answers = [0]
    sender.mail.answers = [""]
    for told in (sender.fails(), sender.fails()):
        assert "Whether it arrived is not known, so it is not sent again: `embed-analytics digest --force` does" in told
        assert "webhook: " in told
        assert "mail to ann@example.com: " in told
        assert "bob" not in told
    assert sender.counts() == (0, 0, 1)
    # A forced run that fails knows no more than before.
    sender.webhook.answers, sender.mail.answers = [503, 503], ["451 later"] * 4
    sender.fails(is_forced=True)
    assert "webhook: an earlier run broke off while it was sent" in sender.fails()
    sender.send(is_forced=True)
    assert sender.counts() == (1, 1, 2)
    sender.send()
    assert sender.counts() == (1, 1, 2)


def start(home: Home, **settings: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {"EMBED_ANALYTICS_HOME": str(home.root), **settings}
    command = [sys.executable, "-m", "pipelines", "digest"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=home.root.parent, stdout=pipe, stderr=pipe, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    """What it said; it must succeed."""
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    return out


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", ["webhook", "mail"])
def test_a_run_that_was_killed_while_a_message_was_taken(
    home: Home, webhook: AlertEndpoint, mail: MailHost, killed_at: str
) -> None:
    begun, started = threading.Event(), list[subprocess.Popen[str]]()

    def kill() -> None:
        assert begun.wait(60)
        started[0].send_signal(signal.SIGKILL)
        started[0].wait(60)

    receiver = webhook if killed_at == "webhook" else mail
    receiver.on_taken = kill
    settings = variables(webhook, mail)
    started.append(start(home, **settings))
    begun.set()
    started[0].communicate(timeout=60)
    assert started[0].returncode == -signal.SIGKILL
    # It was taken, though nobody noted it.
    counts = (1, 0) if killed_at == "webhook" else (1, 1)
    assert (len(webhook.bodies), len(mail.taken)) == counts
    receiver.on_taken = lambda: None

    again = Sender(home, webhook, mail)
    again.settings = again.settings.model_copy(update={"embed_analytics_digest_cron": NEVER_ENDS})
    now = utc_now()
    assert "an earlier run broke off while it was sent" in again.fails(now)
    # The channels behind it got theirs, and those before and itself got nothing more.
    assert (len(webhook.bodies), len(mail.taken)) == (1, 2)
    again.send(now, is_forced=True)
    assert (len(webhook.bodies), len(mail.taken)) == (2, 4)


@pytest.mark.slow
def test_two_runs_at_once_send_it_once(home: Home, webhook: AlertEndpoint, mail: MailHost) -> None:
    second: list[subprocess.Popen[str]] = []
    said: list[str] = []

    def beside() -> None:
        """While the first run sends, a second one is started, until it waits for the first."""
        if not second:
            second.append(start(home, **variables(webhook, mail)))
            assert second[0].stdout is not None
            said.append(second[0].stdout.readline())

    webhook.on_taken = beside
    said.append(finished(start(home, **variables(webhook, mail))))
    said.append(finished(second[0]))
    waiting, first, then = said
    assert waiting == "Another process is sending the digest: waiting until it is done.\n"
    assert first.count(": sent\n") == 3
    assert then.count(": already sent in the period") == 3
    assert (len(webhook.bodies), len(mail.taken)) == (1, 2)


@pytest.mark.slow
def test_the_ledger_says_to_nobody_who_got_it(sender: Sender) -> None:
    sender.webhook.answers = [0]
    sender.fails()
    path = sender.home.root / "state" / "digest.json"
    written = path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o600
    ((period, states),) = json.loads(written).items()
    assert period == "2026-05-11T08:00"
    assert sorted(states.values()) == ["sending", "sent", "sent"]
    for word in ("secret-path", "ann", "bob", "example.com", "127.0.0.1"):
        assert word not in written
    sender.settings = Settings.defaults(
        embed_analytics_home=sender.home.root, embed_analytics_digest_webhook_url=sender.webhook.url
    )
    for week in range(1, PERIODS + 2):
        sender.send(NOW + timedelta(weeks=week))
    assert len(json.loads(path.read_text(encoding="utf-8"))) == PERIODS
    sender.send(NOW + timedelta(weeks=PERIODS + 1))
    assert sender.counts()[0] == PERIODS + 1


@pytest.mark.parametrize("text", ["", "[]", '{"p": {"k": "gone"}}', '{"p": []}', "\xff"])
def test_a_ledger_that_is_damaged_sends_nothing(sender: Sender, text: str) -> None:
    sender.home.digest_ledger.parent.mkdir()
    sender.home.digest_ledger.write_bytes(text.encode("latin-1"))
    with pytest.raises(PermanentError, match=r"state/digest\.json is damaged"):
        sender.send()
    assert sender.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"embed_analytics_smtp_url": None}, "EMBED_ANALYTICS_SMTP_URL"),
        ({"embed_analytics_digest_to": ()}, "EMBED_ANALYTICS_DIGEST_TO"),
        (
            {"embed_analytics_digest_from": None, "embed_analytics_digest_to": ()},
            "DIGEST_TO and EMBED_ANALYTICS_DIGEST_FROM",
        ),
    ],
)
def test_half_of_what_mail_needs_sends_nothing(sender: Sender, changes: dict[str, Any], missing: str) -> None:
    sender.settings = sender.settings.model_copy(update=changes)
    with pytest.raises(ConfigurationError, match=missing):
        sender.send()
    assert sender.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    "address", ["", "a", "a@b\nBcc: c@d.e", "a@b\r\n", "a b@c", "A <a@b.c>", "a@b,c@d", "@b", "a@", "é@b.c", "a@b\x00"]
)
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="is not an e-mail address"):
        Settings.defaults(embed_analytics_digest_to=json.dumps([address]))
    with pytest.raises(ValidationError, match="is not an e-mail address"):
        Settings.defaults(embed_analytics_digest_from=address)


@pytest.mark.parametrize(
    ("cron", "now", "period"),
    [
        ("0 8 * * 1", datetime(2026, 5, 11, 8), "2026-05-11T08:00"),
        ("0 8 * * 1", datetime(2026, 5, 11, 8, 0, 0, 1), "2026-05-11T08:00"),
        ("0 8 * * 1", datetime(2026, 5, 11, 7, 59, 58, 999_999), "2026-05-04T08:00"),
        ("*/5 * * * *", datetime(2026, 5, 11, 8, 9, 30), "2026-05-11T08:05"),
        ("0 0 1 * *", datetime(2026, 5, 11), "2026-05-01T00:00"),
    ],
)
def test_a_period_begins_at_a_tick(cron: str, now: datetime, period: str) -> None:
    assert period_of(cron, now) == period


@pytest.mark.parametrize("cron", ["weekly", "* *", "* * * * * *", "0 0 30 2 *"])
def test_a_schedule_that_never_comes_is_named(cron: str) -> None:
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_DIGEST_CRON"):
        period_of(cron, NOW)


@pytest.mark.slow
def test_without_a_channel_or_dry_it_is_printed(
    home: Home, webhook: AlertEndpoint, mail: MailHost, tmp_path: Path
) -> None:
    printed = run(tmp_path, "digest")
    assert printed.returncode == 0
    assert printed.stdout.startswith("Embed imports: ")
    assert "set EMBED_ANALYTICS_DIGEST_WEBHOOK_URL, or EMBED_ANALYTICS_SMTP_URL" in printed.stderr
    dry = run(tmp_path, "digest", "--dry-run", **variables(webhook, mail))
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "Customers whose conversion fell" in dry.stdout
    assert (webhook.bodies, mail.taken) == ([], [])
    assert not home.state.exists()
    sent = run(tmp_path, "digest", **variables(webhook, mail))
    assert sent.returncode == 0, sent.stderr
    # The mail's plain text is what was printed, but for the time that passed.
    plain = mail.taken[0].message.get_body(("plain",))
    assert plain is not None
    without_age = [text.splitlines()[2:] for text in (plain.get_content(), dry.stdout)]
    assert without_age[0] == without_age[1]
