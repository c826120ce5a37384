"""One check of the warehouse, as its file in sql/checks/ or its model says. `check_files.py` reads the files."""

import re
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warn"]

SUBJECT = re.compile(r"\{(\w+)\}")
"""The column in braces in a line `-- finds:`."""


@dataclass(frozen=True)
class Check:
    """A statement about a table, and the SELECT of the rows that contradict it. `file` is where both are written."""

    name: str
    file: str
    table: str
    severity: Severity
    scope: str
    finds: str | None
    sql: str
    description: str
    depends_on: tuple[str, ...]
    sources: tuple[str, ...]
    parameters: tuple[str, ...]
    code_version: str

    @property
    def subject(self) -> str | None:
        """The column whose values say what was found."""
        found = SUBJECT.search(self.finds or "")
        return None if found is None else found[1]
