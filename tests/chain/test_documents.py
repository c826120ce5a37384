"""What the page about evidence says of the chain is what the code says."""

import re
from pathlib import Path

from pipelines.chain.links import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")


def test_the_table_of_kinds_is_that_of_the_code() -> None:
    table = PAGE.partition("| kind | what it says |")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)) == KINDS
