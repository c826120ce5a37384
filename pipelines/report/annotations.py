"""What happened besides the sessions: `annotations.csv` in the home, which people write by hand."""

import csv
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path

from pipelines.errors import ConfigurationError

COLUMNS = ("date", "text", "template")
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Annotation:
    """A release or an incident. `template`: the template that it is about; None for all."""

    date: date
    text: str
    template: str | None


def read_annotations(path: Path) -> list[Annotation]:
    """The rows of the file, by date; none where there is no file.

    The first line names the columns `date` (YYYY-MM-DD), `text` and, where wanted, `template`; an empty template means
    all of them. Raises ConfigurationError, which names the line that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8: save it again as such.") from None
    rows = csv.DictReader(StringIO(text, newline=""), restkey="")
    if not {"date", "text"} <= set(rows.fieldnames or ()) <= set(COLUMNS):
        raise ConfigurationError(f"{path} must begin with the line `date,text,template`; the template may be left out.")
    try:
        found = [_annotation(row, f"{path}, line {rows.line_num}") for row in rows]
    except csv.Error as error:
        raise ConfigurationError(f"{path}, line {rows.line_num}: {error}.") from None
    return sorted(found, key=lambda annotation: (annotation.date, annotation.text))


def _annotation(row: dict[str, str], where: str) -> Annotation:
    text = (row["text"] or "").strip()
    if "" in row or not text or len(text) > _LONGEST_TEXT:
        raise ConfigurationError(
            f"{where}: write a date, a text of at most {_LONGEST_TEXT} characters, and a template or nothing. A text "
            "with a comma stands in quotes."
        )
    try:
        day = date.fromisoformat(row["date"])
    except (TypeError, ValueError):
        raise ConfigurationError(f"{where}: {row['date']!r} is not a date like 2026-01-31.") from None
    return Annotation(day, text, row.get("template") or None)
