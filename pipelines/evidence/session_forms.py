"""The document of a session as a page to print, without any script, and as plain text."""

import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

from pipelines.evidence.session_document import Document, Section

_PAGE = Path(__file__).parent / "parts" / "session.html"
_WIDTH = 100


def as_html(document: Document) -> str:
    """A page that loads nothing and runs nothing."""
    sections = "\n".join(line for section in document.sections for line in _html(section))
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(title=escape(document.title), sections=sections)


def as_text(document: Document) -> str:
    """Plain text. A value is the last on its line, so that no direction of writing moves what stands beside it."""
    lines = [document.title, "#" * len(document.title)]
    for section in document.sections:
        lines += _text(section)
    return "\n".join(lines) + "\n"


def _html(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.heading)}</h2>"
    yield from (f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs)
    if section.facts:
        facts = (f"<dt>{escape(label)}</dt><dd>{_lines(value)}</dd>" for label, value in section.facts)
        yield f"<dl>{''.join(facts)}</dl>"
    if section.rows:
        head = "".join(f"<th scope=col>{escape(column)}</th>" for column in section.columns)
        yield f"<table><thead><tr>{head}</tr></thead><tbody>"
        for row in section.rows:
            yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        yield "</tbody></table>"


def _lines(value: str) -> str:
    return escape(value).replace("\n", "<br>")


def _text(section: Section) -> Iterator[str]:
    yield from ("", section.heading, "=" * len(section.heading))
    for paragraph in section.paragraphs:
        yield from textwrap.wrap(paragraph, _WIDTH)
    for label, value in section.facts:
        yield f"{label}: " + value.replace("\n", "\n    ")
    for row in section.rows:
        cells = [f"{column}: {cell}" for column, cell in zip(section.columns, row, strict=True) if cell]
        yield from (f"{'  ' if number else '- '}{cell}" for number, cell in enumerate(cells))
