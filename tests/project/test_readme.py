"""The README says what is so: its settings are the settings, its queries run, its links lead somewhere."""

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


def test_there_are_five_queries() -> None:
    assert len(QUERIES) == 5


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)#]+)", README))
def test_the_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
