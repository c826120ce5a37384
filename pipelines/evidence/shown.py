"""Values as an evidence pack shows them, on its page and in its text.

A text from outside stands in quotes, as JSON writes it, unless it is a plain name. So each character of it is seen, no
program takes it for a formula, a mark-up or a command, and it cannot be taken for words of ours.
"""

import json
import re
from datetime import date, datetime
from typing import cast

# Longer texts are cut, and say so: rows.jsonl has them whole.
LONGEST = 500
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


def shown(value: object) -> str:
    """A published value; an empty text for NULL. Times are UTC."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f} UTC"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return outside(value)
    if isinstance(value, list):
        return ", ".join(map(shown, cast("list[object]", value))) or "none"
    return str(value)


def outside(text: str) -> str:
    """A text that others chose."""
    part = text[:LONGEST]
    if _PLAIN.fullmatch(part):
        quoted = part
    else:
        quoted = json.dumps(part, ensure_ascii=False)
        if not quoted.isprintable():
            quoted = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in quoted)
    return quoted if len(text) <= LONGEST else f"{quoted}... ({len(text)} characters, see rows.jsonl)"
