"""The digest as blocks of a Slack message (https://api.slack.com/reference/block-kit/blocks)."""

from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.digest.document import LONGEST, Cell, Code, Document, Line, Outside, Row, Section, Text
from pipelines.messages.outside_text import slack_escaped, slack_text

# Slack refuses a message with a longer text, or with more blocks.
BLOCK_CHARACTERS = 3_000
BLOCKS = 50


def as_message(document: Document) -> dict[str, Any]:
    """The message's JSON. Its `text` is for notifications, and holds no text from outside."""
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": document.title}}]
    blocks += _sections([f"*{slack_escaped(document.summary)}*", _line(document.lead)])
    for section in document.sections:
        blocks.append({"type": "divider"})
        blocks += _sections(_lines(section))
    blocks += [{"type": "divider"}, *_sections(_end(document))]
    return {"text": f"{document.title}: {document.summary}", "blocks": blocks}


def _lines(section: Section) -> Iterator[str]:
    yield f"*{slack_escaped(section.heading)}*"
    yield from map(_row, section.rows)
    yield from map(_line, section.lines)


def _end(document: Document) -> Iterator[str]:
    if document.link is not None:
        # Slack takes what stands before the bar for the address, whatever it is.
        yield f"<{slack_escaped(document.link).replace('|', '%7C')}|The page with all of it>"
    yield from map(_line, document.ends)


def _row(row: Row) -> str:
    now, before = (_cell(cell) for cell in (row.now, row.before))
    return f"• {_text(row.label)}: *{now[0]}*{now[1]}; before {before[0]}{before[1]}"


def _cell(cell: Cell) -> tuple[str, str]:
    return cell.value, f" ({cell.about})" if cell.about else ""


def _line(line: Line) -> str:
    return f":warning: {_text(line.text)}" if line.is_alarm else _text(line.text)


def _text(parts: Text) -> str:
    return "".join(
        slack_text(part, LONGEST) if isinstance(part, (Outside, Code)) else slack_escaped(part) for part in parts
    )


def _sections(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Blocks of as many lines as go into each."""
    held: list[str] = []
    for line in lines:
        if held and len("\n".join([*held, line])) > BLOCK_CHARACTERS:
            yield _section(held)
            held = []
        held.append(line)
    if held:
        yield _section(held)


def _section(lines: Iterable[str]) -> dict[str, Any]:
    # Verbatim: Slack makes no links of its own of addresses, channels and names.
    return {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines), "verbatim": True}}
