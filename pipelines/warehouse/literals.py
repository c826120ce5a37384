"""Values as SQL text, where DuckDB takes no parameter."""

from pathlib import Path


def quoted(text: str | Path) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"
