"""Values as SQL text, where DuckDB takes no parameter."""

import re
from pathlib import Path


def quoted(text: str | Path) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL text, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def without_wildcards(path: Path) -> str:
    """A path as a DuckDB file pattern that matches only this file."""
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))
