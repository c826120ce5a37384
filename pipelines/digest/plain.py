"""The digest as plain text: for a terminal, and for mail programs that show no HTML."""

from collections.abc import Iterator

from pipelines.digest.document import LONGEST, Cell, Document, Line, Outside, Text
from pipelines.messages.outside_text import without_links


def as_text(document: Document) -> str:
    """Lines without control characters. Text from outside stands in quotation marks."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f"{document.title}: {document.summary}"
    yield _line(document.lead)
    for section in document.sections:
        yield from ("", section.heading, "-" * len(section.heading))
        for row in section.rows:
            yield f"{text(row.label)}: {_cell(row.now)}"
            yield f"    before: {_cell(row.before)}"
        yield from map(_line, section.lines)
    yield ""
    if document.link is not None:
        yield f"The page with all of it: {document.link}"
    yield from map(_line, document.ends)


def _line(line: Line) -> str:
    return f"! {text(line.text)}" if line.is_alarm else text(line.text)


def _cell(cell: Cell) -> str:
    return f"{cell.value} ({cell.about})" if cell.about else cell.value


def text(parts: Text) -> str:
    """The parts as one line."""
    return "".join(f"“{without_links(part, LONGEST)}”" if isinstance(part, Outside) else part for part in parts)
