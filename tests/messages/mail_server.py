"""A mail server on real SMTP (aiosmtpd), on a free port of this machine."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# A certificate for localhost, of its own making.
CERTIFICATE = Path(__file__).parent / "fixtures" / "localhost.pem"

Encryption = Literal["none", "starttls", "tls"]


@dataclass(frozen=True)
class Taken:
    """A message that arrived, to whom, and whether its connection was encrypted."""

    recipients: list[str]
    message: EmailMessage
    is_encrypted: bool


@dataclass
class MailHost:
    """What the server took, and how it is to answer.

    `answers`: what it answers to the next messages instead of taking them; "" breaks off without an answer.
    `refused`: recipients that it does not know. `logins`: what it was shown. `on_taken` is called before
    it says that it took a message.
    """

    password: str = ""
    taken: list[Taken] = field(default_factory=list[Taken])
    answers: list[str] = field(default_factory=list[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    logins: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    on_taken: Callable[[], None] = lambda: None
    port: int = 0

    def url(self, user: str = "", *, scheme: str = "smtp", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{user}{host}:{self.port}"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if not answer:
            assert server.transport is not None
            server.transport.close()
        if answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            message = message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            is_encrypted = server.transport is not None and server.transport.get_extra_info("ssl_object") is not None
            self.taken.append(Taken([*map(str, envelope.rcpt_tos)], message, is_encrypted))
            self.on_taken()
        return answer

    def log_in(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == self.password, handled=False)


@contextmanager
def running_mail_host(encryption: Encryption = "none", *, password: str = "") -> Generator[MailHost]:
    """The server at work. Once encrypted, it offers to log in with the password."""
    host = MailHost(password)
    tls = None
    if encryption != "none":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERTIFICATE)

    def session() -> SMTP:
        return SMTP(
            host,
            hostname="mail.test",
            tls_context=tls if encryption == "starttls" else None,
            authenticator=host.log_in,
            # aiosmtpd does not see encryption that began with the connection.
            auth_required=bool(password) and encryption == "starttls",
            auth_require_tls=encryption != "tls",
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(
        loop.create_server(session, "127.0.0.1", 0, ssl=tls if encryption == "tls" else None), loop
    ).result(10)
    host.port = listening.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(_stop(listening), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(listening: asyncio.Server) -> None:
    listening.close()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
