"""Each message that docs/deploy.md explains is one that the code prints."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
_TABLE = PAGE.partition("## When something fails")[2].partition("\n## ")[0]
MESSAGES = re.findall(r"^\| `(.+?)` \| ", _TABLE, re.MULTILINE)
# What stands for a value, in the page as in the texts of the code.
VALUE = "…"


@cache
def texts() -> list[str]:
    """The texts in the code, with VALUE for what an f-string fills in."""
    found = list[str]()
    for path in [*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "assets").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_there_is_a_table() -> None:
    assert len(MESSAGES) > 12
    assert len(MESSAGES) == len(set(MESSAGES))
    assert len(MESSAGES) == _TABLE.count("\n| ") - 2, "each row begins with a message"


@pytest.mark.parametrize("message", MESSAGES)
def test_the_code_prints_it(message: str) -> None:
    assert sum(len(part) for part in message.split(VALUE)) > 15, "it says what is looked for"
    assert any(message in text for text in texts())
