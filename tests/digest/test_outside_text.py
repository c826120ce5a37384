"""Whatever the names are: in Slack, HTML, plain text and headers they are only text, within the lengths allowed."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings

from pipelines.digest.blocks import BLOCK_CHARACTERS, BLOCKS, as_message
from pipelines.digest.document import SHOWN, Document, Occasion, compose
from pipelines.digest.mail import as_html, as_mail
from pipelines.digest.numbers import BEFORE, COMPARED, NOW, Change, Fall, Number, Numbers
from pipelines.digest.plain import as_text
from pipelines.messages.outside_text import one_line
from pipelines.warehouse.findings import Finding
from tests.orchestration.hostile_text import FRAGMENTS, hostile_text
from tests.orchestration.test_outside_text import LITERAL_LINKS
from tests.proving import examples

AT = datetime(2026, 5, 4, 8)
NUMBER = Number(0.25, 25, 100, 0.2, 0.3)


def numbers_of(names: list[str], count: int = 1) -> Numbers:
    """Numbers in which every name from outside is one of these, `count` of each kind."""
    name = [names[place % len(names)] for place in range(count)]
    return Numbers(
        build_id="20260504T080000",
        data_through=AT,
        totals={(metric, period): NUMBER for metric in ("sessions", *COMPARED) for period in (NOW, BEFORE)},
        days={NOW: (date(2026, 4, 1), date(2026, 4, 28)), BEFORE: (date(2026, 3, 4), date(2026, 3, 31))},
        moved=[Change(False, each, "dropped", "file_uploaded", NUMBER, NUMBER) for each in name],
        falls=[Fall(each, NUMBER, NUMBER) for each in name],
        warnings=[Finding("event_types_known", "t", "warn", False, 1, 0, each) for each in name],
    )


def document_of(names: list[str], count: int = 1, **changes: Any) -> Document:
    occasion = Occasion(AT, late_after_seconds=3600.0, names_customers=True, link=None, page=None)
    return compose(numbers_of(names, count), replace(occasion, **changes))


class Parsed(HTMLParser):
    """The tags and their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


PLAIN = Parsed(as_html(document_of(["plain"]))).tags


@settings(max_examples=examples(60))
@given(hostile_text)
def test_html_has_no_tag_more_and_shows_the_name(name: str) -> None:
    parsed = Parsed(as_html(document_of([name])))
    assert parsed.tags == PLAIN
    shown = one_line(name, 80) or "(empty)"
    assert "".join(parsed.texts).replace("\u200b", "").count(shown) >= 2
    assert not LITERAL_LINKS.search("\n".join(parsed.texts))


def slack_texts(message: dict[str, Any]) -> Iterator[str]:
    for block in message["blocks"]:
        if block["type"] != "divider":
            assert block["type"] == "header" or block["text"]["verbatim"] is True
            yield block["text"]["text"]


@settings(max_examples=examples(60))
@given(hostile_text)
def test_slack_reads_nothing_in_a_name(name: str) -> None:
    message = as_message(document_of([name]))
    texts = "\n".join(slack_texts(message))
    # Nothing outside of code is from outside, and nothing anywhere is a mention or a link.
    outside_of_code = re.sub(r"`[^`\n]*`", "", texts)
    expected = re.sub(r"`[^`\n]*`", "", "\n".join(slack_texts(as_message(document_of(["plain"])))))
    assert outside_of_code == expected
    assert not set("<>") & set(texts)
    shown = one_line(name, 80).replace("`", "'") or "(empty)"
    assert unescape(texts).count(f"`{shown}`") >= 2
    assert message["text"] == as_message(document_of(["plain"]))["text"]


PLAIN_LINES = len(as_text(document_of(["plain"])).splitlines())


@settings(max_examples=examples(20))
@given(hostile_text)
def test_mail_has_our_headers_alone_and_plain_text_without_control_characters(name: str) -> None:
    made = as_mail(
        document_of([name]), sender="a@x.example", recipient="b@x.example", message_id="<1@x.example>", at=AT
    )
    sent = made.as_bytes()
    assert all(len(line) <= 998 for line in sent.split(b"\r\n"))
    read = message_from_bytes(sent, policy=default)
    assert isinstance(read, EmailMessage)
    assert sorted(read.keys()) == sorted(
        ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    )
    plain = read.get_body(("plain",))
    assert plain is not None
    # The name begins no line, and adds none.
    lines = plain.get_content().split("\r\n" if "\r\n" in plain.get_content() else "\n")
    assert len(lines) - 1 == PLAIN_LINES
    assert not LITERAL_LINKS.search("\n".join(lines))
    told = "\n".join(lines).replace("\u200b", "")
    assert told.count(f"“{one_line(name, 80)}”") >= 2
    assert {unicodedata.category(character) for character in told} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == {"Cc"}
    assert {character for character in told if unicodedata.category(character) == "Cc"} == {"\n"}


@pytest.mark.parametrize("fragment", ["&", "<", "x", "`", "é", "🙂", *FRAGMENTS])
def test_the_longest_digest_is_within_slacks_lengths_and_says_what_it_leaves_out(fragment: str) -> None:
    document = document_of([(fragment * 400)[:4000]], 37)
    message = as_message(document)
    assert len(message["blocks"]) <= BLOCKS
    assert all(0 < len(text) <= BLOCK_CHARACTERS for text in slack_texts(message))
    assert "".join(slack_texts(message)).count(f"And {37 - SHOWN} more: `from ") == 3
    assert [len(section.rows) for section in document.sections] == [5, SHOWN, SHOWN, 0, 0]
    assert as_text(document).count("Does not hold: ") == SHOWN
    assert as_text(document).count(f"And {37 - SHOWN} more: from ") == 3
    assert as_html(document).count(f"And {37 - SHOWN} more: <code>from ") == 3


def test_a_name_that_is_not_known_is_told_from_one_that_says_so() -> None:
    numbers = numbers_of(["(not known)"])
    change = numbers.moved[0]
    both = [Change(False, None, "submitted", None, change.now, change.before), change]
    document = compose(replace(numbers, moved=both), Occasion(AT, 3600.0, names_customers=False, link=None, page=None))
    text = as_text(document)
    assert "\n(not known): submitted: 25.0% (25 of 100. 95 %: 20.0% to 30.0%)\n" in text
    assert "\n“(not known)”: got no further than file_uploaded: 25.0%" in text
    assert "<td" in as_html(document)
    assert ">(not known): submitted<" in as_html(document)
    assert "><strong>(not known)</strong>: got no further than <code>file_uploaded</code><" in as_html(document)


@pytest.mark.parametrize(
    "link", ["https://x.example/r.html?a=1&b=<2>|c", 'https://x.example/"><script>alert(1)</script>']
)
def test_the_link_is_a_link_and_nothing_more(link: str) -> None:
    document = document_of(["plain"], link=link)
    parsed = Parsed(as_html(document))
    (anchor,) = [attributes for tag, attributes in parsed.tags if tag == "a"]
    assert dict(anchor)["href"] == link
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "img")]
    last = [*slack_texts(as_message(document))][-1].splitlines()[0]
    address, _, words = last.removeprefix("<").removesuffix(">").partition("|")
    assert unescape(address).replace("%7C", "|") == link
    assert words == "The page with all of it"
    assert not set("<>") & set(address)
