"""The README says what is so: its settings are the settings, its queries run, its links lead somewhere.

And a stranger reads it in five minutes.
"""

import re
from pathlib import Path

import duckdb
import pytest

from pipelines.home.layout import Home
from pipelines.settings import settings_table
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.+?)```", README, re.DOTALL)

# 230 words a minute. Code and the table of settings are looked up rather than read; every other word counts.
WORDS_IN_FIVE_MINUTES = 5 * 230


def test_the_table_of_settings_is_the_settings() -> None:
    assert settings_table() in README, "paste pipelines.settings.settings_table() into the README"


@pytest.fixture(scope="module")
def empty_warehouse(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    home = Home(tmp_path_factory.mktemp("readme"))
    build(home, BuildOptions())
    return connect_published(home)


@pytest.mark.parametrize("sql", QUERIES, ids=range(len(QUERIES)))
def test_the_queries_run(empty_warehouse: duckdb.DuckDBPyConnection, sql: str) -> None:
    empty_warehouse.execute(sql)


def test_there_are_six_queries() -> None:
    assert len(QUERIES) == 6


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)#]+)", README))
def test_the_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def words_to_read(markdown: str, looked_up: str) -> list[str]:
    """The words of the prose and the tables. Of a link its text counts, not its address."""
    text = re.sub(r"```.*?```", "", markdown.replace(looked_up, ""), flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return [word for word in text.split() if re.search(r"\w", word)]


def test_five_minutes_are_enough_to_read_it() -> None:
    count = len(words_to_read(README, settings_table()))
    assert count <= WORDS_IN_FIVE_MINUTES, f"the README has {count} words to read: move some to docs/"


def test_what_counts_as_a_word_to_read() -> None:
    text = "Two [words](docs/x.md) = `a` |\n| --- | --- |\n\n```sh\nmake demo\n```\n| SETTING | looked up |\n"
    assert words_to_read(text, "| SETTING | looked up |") == ["Two", "[words]", "`a`"]


@pytest.mark.parametrize(
    "answer",
    [
        "make demo",
        "ONESCHEMA_API_KEY=",
        "embed-analytics refresh",
        "embed-analytics query",
        "embed-analytics backfill --from",
        "EMBED_ANALYTICS_ALERT_WEBHOOK_URL=",
        "EMBED_ANALYTICS_HOME`",
        "## When it fails",
    ],
)
def test_a_stranger_finds(answer: str) -> None:
    assert answer in README.replace(settings_table(), "")
