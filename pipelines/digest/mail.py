"""The digest as e-mail: HTML, with the plain text beside it."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.digest.document import LONGEST, Code, Document, Outside
from pipelines.digest.plain import as_text
from pipelines.messages.outside_text import without_links

if TYPE_CHECKING:
    import jinja2


def as_mail(document: Document, *, sender: str, recipient: str, message_id: str, at: datetime) -> EmailMessage:
    """The message to one recipient. `at` is UTC, without a zone. No header holds text from outside."""
    message = EmailMessage(policy=SMTP)
    message["Subject"] = f"{document.title}: {document.summary}"
    message["From"] = Address("Embed analytics", addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    message["Date"] = at.replace(tzinfo=UTC)
    message["Message-ID"] = message_id
    # Nobody's program answers it (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(as_text(document), cte="quoted-printable")
    message.add_alternative(as_html(document), subtype="html", cte="quoted-printable")
    return message


def as_html(document: Document) -> str:
    """The digest as HTML that asks for nothing: no image, no font, no script."""
    return _template().render(document=document, is_outside=_is_outside, is_code=_is_code, shown=_shown)


@cache
def _template() -> "jinja2.Template":
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "parts"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("mail.html")


def _is_outside(part: str) -> bool:
    return isinstance(part, Outside)


def _is_code(part: str) -> bool:
    return isinstance(part, Code)


def _shown(part: str) -> str:
    return without_links(part, LONGEST) or "(empty)"
