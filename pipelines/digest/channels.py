"""To whom a digest goes, by the settings: a webhook, and each address on its own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from pipelines.digest.blocks import as_message
from pipelines.digest.document import Document
from pipelines.digest.mail import as_mail
from pipelines.errors import ConfigurationError
from pipelines.messages.mail import MailServer, send
from pipelines.messages.webhook import post
from pipelines.settings import Settings

WEBHOOK, SMTP = "EMBED_ANALYTICS_DIGEST_WEBHOOK_URL", "EMBED_ANALYTICS_SMTP_URL"
MAIL_SETTINGS = (SMTP, "EMBED_ANALYTICS_DIGEST_TO", "EMBED_ANALYTICS_DIGEST_FROM")


@dataclass(frozen=True)
class Channel:
    """One recipient. `key` tells it from others in the ledger, and does not say who it is.

    `send` takes the digest and the name of its period, and raises the errors of pipelines.messages.
    """

    name: str
    key: str
    send: Callable[[Document, str], None]


def channels_of(settings: Settings, now: datetime) -> list[Channel]:
    """The channels of the settings, none if they name none. `now` is UTC, the date of an e-mail.

    Raises ConfigurationError where some of the settings that e-mail needs are missing.
    """
    channels: list[Channel] = []
    if url := settings.embed_analytics_digest_webhook_url:
        channels.append(_webhook(url))
    server, recipients, sender = mail = (
        settings.embed_analytics_smtp_url,
        settings.embed_analytics_digest_to,
        settings.embed_analytics_digest_from,
    )
    if server and recipients and sender:
        reached = MailServer.of(server, SMTP)
        channels += [_mail(reached, recipient, sender, now) for recipient in dict.fromkeys(recipients)]
    elif any(mail):
        missing = [name for name, value in zip(MAIL_SETTINGS, mail, strict=True) if not value]
        raise ConfigurationError(f"The digest by e-mail also needs {' and '.join(missing)}.")
    return channels


def _webhook(url: SecretStr) -> Channel:
    def deliver(document: Document, period: str) -> None:
        post(url, as_message(document), WEBHOOK)

    return Channel("webhook", _key("webhook", url.get_secret_value()), deliver)


def _mail(server: MailServer, recipient: str, sender: str, now: datetime) -> Channel:
    key = _key("mail", recipient)

    def deliver(document: Document, period: str) -> None:
        # The same for the same message, so that a mail program that gets it twice can see that.
        message_id = f"<{key}.{period.replace(':', '')}@{sender.rpartition('@')[2]}>"
        send(server, as_mail(document, sender=sender, recipient=recipient, message_id=message_id, at=now))

    return Channel(f"mail to {recipient}", key, deliver)


def _key(kind: str, recipient: str) -> str:
    return f"{kind}-{hashlib.sha256(recipient.encode()).hexdigest()[:16]}"
