"""Whatever a text holds, it is shown as that text: read back by a Markdown parser, and by Slack's own rules."""

import re
import unicodedata
from html import unescape

import pytest
from hypothesis import given
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines.messages.outside_text import LINK_BREAK, one_line, slack_text
from pipelines.orchestration.outside_text import markdown_text
from pipelines.orchestration.presentation import markdown_table
from tests.orchestration.hostile_text import FRAGMENTS, hostile_text

# HTML is allowed here, so that it would be found.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# The links that GitHub's dialect finds in text after everything else was read (mdast-util-gfm-autolink-literal).
LITERAL_LINKS = re.compile(r"https?://[-.\w]+|www\.[-.\w]+|[-.\w+]+@[-\w]+(\.[-\w]+)+", re.IGNORECASE)


def rendered(tokens: list[Token]) -> list[str]:
    """The texts of the inline tokens. Fails where there is anything but text in them."""
    texts: list[str] = []
    for token in tokens:
        assert token.type not in ("html_block", "fence", "code_block")
        if token.type == "inline":
            children = token.children or []
            assert {child.type for child in children} <= {"text"}
            texts.append("".join(child.content for child in children))
    return texts


@given(hostile_text)
def test_a_cell_renders_as_its_text(text: str) -> None:
    table = markdown_table(["plain", "outside"], [("a", text), (text, "b")])

    tokens = PARSER.parse(table)

    assert [token.type for token in tokens if token.type.startswith("t")].count("tr_open") == 3
    texts = rendered(tokens)
    shown = one_line(text, 60)
    assert [cell.replace(LINK_BREAK, "") for cell in texts] == ["plain", "outside", "a", shown, shown, "b"]
    assert not any(LITERAL_LINKS.search(cell) for cell in texts)


@given(hostile_text)
def test_a_paragraph_renders_as_its_text(text: str) -> None:
    shown = one_line(text, 60)
    texts = rendered(PARSER.parse(markdown_text(text, 60)))
    assert [paragraph.replace(LINK_BREAK, "") for paragraph in texts] == ([shown] if shown else [])


@given(hostile_text)
def test_slack_shows_the_text_on_one_line_and_reads_nothing_in_it(text: str) -> None:
    said = slack_text(text, 60)

    # A code span ends at the next backtick, and only `<`, `>` and `&` mean something within it.
    assert said[0] == said[-1] == "`"
    inside = said[1:-1]
    assert not set(inside) & set("`<>")
    assert len(said.splitlines()) == 1
    assert unescape(inside) == (one_line(text, 60).replace("`", "'") or "(empty)")


@given(hostile_text)
def test_one_line_keeps_what_can_be_seen(text: str) -> None:
    shown = one_line(text, 1_000)
    assert len(shown.splitlines()) <= 1
    assert all(character == " " or _is_seen(character) for character in shown)
    assert shown.replace(" ", "") == "".join(filter(_is_seen, text))


def _is_seen(character: str) -> bool:
    """Python knows fewer characters than there are: one that it does not know may be a letter."""
    is_known = unicodedata.category(character) not in ("Cn", "Co")
    return not is_known or (character.isprintable() and not character.isspace())


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_a_hundred_thousand_characters_are_cut(fragment: str) -> None:
    text = (fragment * 100_000)[:100_000]
    assert len(one_line(text, 60)) <= 60
    assert len(rendered(PARSER.parse(f"| a |\n| --- |\n| {markdown_text(text, 60)} |"))) == 2
    assert len(unescape(slack_text(text, 60))) <= 62
