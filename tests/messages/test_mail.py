"""Mail over real SMTP: encrypted, or on this machine; each end of it told apart, and no password anywhere."""

import socket
import threading
from email.message import EmailMessage

import pytest
from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.messages.delivery import DeliveryUnknownError, NotTakenError, RefusedError
from pipelines.messages.mail import MailServer, send
from tests.messages.mail_server import CERTIFICATE, Encryption, running_mail_host

# In the URL each of these is escaped.
PASSWORD = "p:/?#@%41"
USER = "user%40example.com:p%3A%2F%3F%23%40%2541@"


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "from@example.com", "to@example.com", "It said “é”"
    made.set_content("Hello\n.\nFrom there\n")
    return made


def server(url: str) -> MailServer:
    return MailServer.of(SecretStr(url), "SMTP_URL")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtp://mail.example.com", ("smtp", "mail.example.com", 587, None, None)),
        ("smtps://mail.example.com/", ("smtps", "mail.example.com", 465, None, None)),
        ("SMTP://a:b@[::1]:25", ("smtp", "::1", 25, "a", "b")),
        (f"smtp://{USER}h", ("smtp", "h", 587, "user@example.com", PASSWORD)),
    ],
)
def test_a_url_names_the_server(url: str, told: tuple[object, ...]) -> None:
    found = server(url)
    password = found.password and found.password.get_secret_value()
    assert (found.scheme, found.host, found.port, found.user, password) == told
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "mail.example.com",
            "http://secret-word@h",
            "http://h:25",
            "smtp://",
            "smtp://:secret-word@h",
            "smtp://secret-word@h",
            "smtp://a:secret-word@",
        ),
        *("smtp://a:secret-word@h:none", "smtp://a:secret-word@h:99999", "smtp://a:secret-word/b@h"),
        *(
            "smtp://a:secret-word#b@h",
            "smtp://a:b@h/?tls=secret-word",
            "smtp://[secret-word",
            "smtp://a:secret-word@[h",
        ),
    ],
)
def test_another_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SMTP_URL is not like smtp://user:password@host:587") as refused:
        server(url)
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize(("encryption", "scheme"), [("starttls", "smtp"), ("tls", "smtps")])
def test_mail_is_sent_encrypted_by_who_knows_the_password(
    encryption: Encryption, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with running_mail_host(encryption, password=PASSWORD) as host:
        send(server(host.url(USER, scheme=scheme)), message())
        (taken,) = host.taken
        assert taken.is_encrypted
        assert taken.recipients == ["to@example.com"]
        assert taken.message["subject"] == "It said “é”"
        assert taken.message.get_content().splitlines() == ["Hello", ".", "From there"]
        assert host.logins == [("user@example.com", PASSWORD)]
        with pytest.raises(RefusedError, match="SMTP_URL answered 535"):
            send(server(host.url("user:wrong@", scheme=scheme)), message())


@pytest.mark.parametrize(("encryption", "scheme"), [("starttls", "smtp"), ("tls", "smtps")])
def test_a_server_that_nobody_vouches_for_is_told_nothing(encryption: Encryption, scheme: str) -> None:
    with running_mail_host(encryption, password=PASSWORD) as host:
        with pytest.raises(RefusedError, match=r"certificate is not trusted .*SSL_CERT_FILE"):
            send(server(host.url(USER, scheme=scheme)), message())
        assert (host.taken, host.logins) == ([], [])


def test_mail_is_not_sent_in_the_clear_to_another_machine() -> None:
    with running_mail_host() as host:
        # It leads here, and does not say so.
        with pytest.raises(RefusedError, match="offers no STARTTLS"):
            send(server(host.url(host="0.0.0.0")), message())
        assert host.taken == []
        send(server(host.url()), message())
        assert not host.taken[0].is_encrypted


def test_what_the_server_answers_decides() -> None:
    with running_mail_host() as host:
        host.answers = ["451 try later", "554 never"]
        with pytest.raises(NotTakenError, match="SMTP_URL answered 451"):
            send(server(host.url()), message())
        with pytest.raises(RefusedError, match="SMTP_URL answered 554"):
            send(server(host.url()), message())
        host.refused = {"to@example.com": "450 to@example.com is over quota"}
        with pytest.raises(NotTakenError, match="answered 450") as refused:
            send(server(host.url()), message())
        assert "quota" not in str(refused.value)
        host.refused = {"to@example.com": "550 unknown"}
        with pytest.raises(RefusedError, match="answered 550"):
            send(server(host.url()), message())
        # It has no such command without encryption.
        with pytest.raises(RefusedError, match="SMTPNotSupportedError"):
            send(server(host.url("user:secret-word@")), message())
        assert host.taken == []


def test_a_message_that_may_have_arrived_is_told_apart_from_one_that_did_not() -> None:
    with running_mail_host() as host:
        host.answers = [""]
        with pytest.raises(DeliveryUnknownError, match="may have taken the message"):
            send(server(host.url()), message())
        port = host.port
    with pytest.raises(NotTakenError, match="SMTP_URL cannot be reached"):
        send(server(f"smtp://127.0.0.1:{port}"), message())
    with socket.create_server(("127.0.0.1", 0)) as mute:
        # Nothing is said at all, and the line is closed.
        mute.listen()
        with pytest.raises(NotTakenError):
            _send_and_hang_up(mute)


def _send_and_hang_up(mute: socket.socket) -> None:
    def hang_up() -> None:
        accepted, _ = mute.accept()
        accepted.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        send(server(f"smtp://127.0.0.1:{mute.getsockname()[1]}"), message())
    finally:
        thread.join(10)
