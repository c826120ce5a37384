"""Sends e-mail over SMTP, encrypted unless the server is on this machine. Its URL holds a password."""

import smtplib
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.messages.delivery import DeliveryUnknownError, MessageError, NotTakenError, RefusedError
from pipelines.oneschema.proxies import is_loopback

TIMEOUT_SECONDS = 20.0

_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class MailServer:
    """A server as a setting names it: `smtps` speaks TLS from the start, `smtp` after STARTTLS."""

    setting: str
    scheme: str
    host: str
    port: int
    user: str | None
    password: SecretStr | None = field(repr=False)

    @classmethod
    def of(cls, url: SecretStr, setting: str) -> "MailServer":
        """Raises ConfigurationError, which does not show the URL."""
        try:
            parts = urlsplit(url.get_secret_value())
            port = parts.port
        except ValueError:
            raise _unusable(setting) from None
        is_more = parts.path not in ("", "/") or parts.query or parts.fragment
        if parts.scheme not in _PORTS or not parts.hostname or is_more or bool(parts.username) != bool(parts.password):
            raise _unusable(setting)
        user = unquote(parts.username) if parts.username else None
        password = SecretStr(unquote(parts.password)) if parts.password else None
        return cls(setting, parts.scheme, parts.hostname, port or _PORTS[parts.scheme], user, password)


def _unusable(setting: str) -> ConfigurationError:
    return ConfigurationError(
        f"{setting} is not like smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465 (TLS). A "
        "character of the password that means something in a URL is written as a percent sign and two digits."
    )


class _Client(smtplib.SMTP):
    """Notes when the message itself begins: until then, a connection that breaks has delivered nothing."""

    is_handed_over = False

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.is_handed_over = True
        return super().data(msg)


class _TlsClient(_Client, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


def send(server: MailServer, message: EmailMessage) -> None:
    """Send a message from the one address of its header `From` to that of `To`, which are ASCII.

    The server's certificate must be valid for its name.

    Raises NotTakenError (no connection, 4xx), RefusedError (5xx, an untrusted certificate, no STARTTLS), or
    DeliveryUnknownError (the connection broke once the message had been handed over).
    """
    client: _Client | None = None
    try:
        with _connected(server) as client:
            client.sendmail(_address(message, "From"), _address(message, "To"), message.as_bytes(policy=SMTP))
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise _told(server, error, is_handed_over=client is not None and client.is_handed_over) from None


@contextmanager
def _connected(server: MailServer) -> Generator[_Client]:
    # Certificates are those that the system trusts, and those of SSL_CERT_FILE.
    trusted = ssl.create_default_context()
    if server.scheme == "smtps":
        client = _TlsClient(server.host, server.port, timeout=TIMEOUT_SECONDS, context=trusted)
    else:
        client = _Client(server.host, server.port, timeout=TIMEOUT_SECONDS)
    try:
        client.ehlo_or_helo_if_needed()
        if server.scheme == "smtp":
            _encrypt(server, client, trusted)
        if server.user is not None and server.password is not None:
            client.login(server.user, server.password.get_secret_value())
        yield client
        # The message has arrived, whatever becomes of the goodbye.
        with suppress(smtplib.SMTPException, OSError):
            client.quit()
    finally:
        client.close()


def _address(message: EmailMessage, header: str) -> str:
    (address,) = message[header].addresses
    return address.addr_spec


def _encrypt(server: MailServer, client: smtplib.SMTP, trusted: ssl.SSLContext) -> None:
    if client.has_extn("starttls"):
        client.starttls(context=trusted)
    elif not is_loopback(server.host):
        raise RefusedError(f"{server.setting}: the server offers no STARTTLS, and mail is not sent in the clear")


def _told(server: MailServer, error: Exception, *, is_handed_over: bool) -> MessageError:
    """What an error of smtplib means. Nothing that the server said is repeated."""
    code = _code(error)
    if 400 <= code < 500:
        return NotTakenError(f"{server.setting} answered {code}")
    if 500 <= code < 600:
        return RefusedError(f"{server.setting} answered {code}")
    kind = type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusedError(
            f"{server.setting}: the server's certificate is not trusted ({error.verify_message}). SSL_CERT_FILE names "
            "the file with that of your own authority"
        )
    # smtplib's errors are OSErrors themselves.
    if is_handed_over:
        return DeliveryUnknownError(f"{server.setting} broke off ({kind}), and may have taken the message")
    if isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPServerDisconnected):
        return RefusedError(f"{server.setting}: the server cannot do what is asked of it ({kind})")
    if isinstance(error, UnicodeError):
        return RefusedError(f"{server.setting}: the user, the password or an address is not ASCII")
    return NotTakenError(f"{server.setting} cannot be reached ({kind})")


def _code(error: Exception) -> int:
    """The code of the server's answer; 0 where it gave none."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, _),) = error.recipients.values()
        return code
    return error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else 0
