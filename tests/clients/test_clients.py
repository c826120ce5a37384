"""docs/clients.md: each recipe of a client that is here asks a published warehouse, and reconnects as the page says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse import sources
from pipelines.warehouse.build import BuildOptions, build
from tests.clients.conftest import NODE
from tests.warehouse.lake import START, Lake, event

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
TRIED = PAGE.partition("\n## Tried\n")[2].partition("\n## ")[0]
FILE = "data/warehouse.duckdb"

# Sessions by outcome: as published at first, and by the next build.
OLD = {"closed": 2, "submitted": 3}
NEW = {"closed": 2, "submitted": 4}


class Recipe(NamedTuple):
    """A section of the page: how to open and ask, and how to reconnect (empty where each question does)."""

    opening: str
    reconnecting: str = ""

    @property
    def question(self) -> str:
        """The last paragraph of the opening."""
        return self.opening.rpartition("\n\n")[2]

    def asking_thrice(self, publishing: str) -> str:
        """A program that asks, has the next build published, asks again, reconnects, and asks once more."""
        return "\n".join([self.opening, publishing, self.question, self.reconnecting, self.question])


def recipe(title: str) -> Recipe:
    section = TRIED.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    return Recipe(*re.findall(r"```\w+\n(.+?)```", section, re.DOTALL))


def test_each_recipe_is_run_here() -> None:
    run = {"DuckDB's command line", "Beside tables of your own", "SQLAlchemy", "Node", *IN_ONE_PROCESS}
    assert set(re.findall(r"^### (.+)$", TRIED, re.MULTILINE)) == run


def events(outcomes: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    steps = {"closed": ["embed_closed"], "submitted": ["file_uploaded", "import_submitted"]}
    ended = [outcome for outcome, count in outcomes.items() for _ in range(count)]
    for number, outcome in enumerate(ended):
        for place, step in enumerate(["embed_initialized", *steps[outcome]]):
            yield event(f"{number}-{step}", number, step, START + timedelta(minutes=10 * number + place))


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two builds, one after the other."""
    root = tmp_path_factory.mktemp("builds")
    lake = Lake(Home(root / "home"))
    files: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_catalogues", lake.catalogues)
        for number, outcomes in enumerate([OLD, NEW]):
            lake.write(events(outcomes))
            lake.sweep(START + timedelta(days=10 + number))
            build(lake.home, BuildOptions(Settings.defaults(embed_analytics_home=lake.home.root), "test"))
            files.append(root / f"{number}.duckdb")
            shutil.copy(lake.home.warehouse, files[-1])
    return files


@pytest.fixture
def folder(builds: list[Path], tmp_path: Path) -> Iterator[Path]:
    """A working directory with the first build, and beside it the next one, to be renamed over it.

    Both are being read, so that who opens either of them for writing fails.
    """
    (tmp_path / "data").mkdir()
    files = [tmp_path / FILE, tmp_path / "next.duckdb"]
    for made, file in zip(builds, files, strict=True):
        shutil.copy(made, file)
    with duckdb.connect(files[0], read_only=True), duckdb.connect(files[1], read_only=True):
        yield tmp_path


def printed(command: list[str], folder: Path, program: str | None = None, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=folder, input=program, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(text: str) -> list[dict[str, int]]:
    """The answers in what a client printed, however it draws a table."""
    found = re.findall(r"\b(closed|submitted)\W+(\d+)", text)
    assert [outcome for outcome, _ in found] == ["closed", "submitted"] * (len(found) // 2), text
    return [{outcome: int(count) for outcome, count in found[at : at + 2]} for at in range(0, len(found), 2)]


def python(program: str, folder: Path, packages: Path) -> list[dict[str, int]]:
    return answers(printed([sys.executable, "-"], folder, program, PYTHONPATH=str(packages)))


PUBLISHING = f'import os\nos.rename("next.duckdb", "{FILE}")'
IN_ONE_PROCESS = {"Python": 1, "pandas and Polars": 2, "Ibis": 1}


@pytest.mark.parametrize(("title", "count"), IN_ONE_PROCESS.items())
def test_python(title: str, count: int, folder: Path, python_clients: Path) -> None:
    found = python(recipe(title).asking_thrice(PUBLISHING), folder, python_clients)
    assert found == [OLD] * 2 * count + [NEW] * count


def test_sqlalchemy_without_a_pool(folder: Path, python_clients: Path) -> None:
    section = recipe("SQLAlchemy")
    assert section.reconnecting == ""
    assert python(section.asking_thrice(PUBLISHING), folder, python_clients) == [OLD, NEW, NEW]


def test_sqlalchemy_with_its_pool(folder: Path, python_clients: Path) -> None:
    section = recipe("SQLAlchemy")
    pooled = Recipe(section.opening.replace(", poolclass=sqlalchemy.NullPool", ""), "engine.dispose()")
    assert pooled.opening != section.opening
    assert f"until `{pooled.reconnecting}`" in TRIED
    assert python(pooled.asking_thrice(PUBLISHING), folder, python_clients) == [OLD, OLD, NEW]


def test_sqlalchemy_by_an_address_alone(folder: Path, python_clients: Path) -> None:
    section = recipe("SQLAlchemy")
    (suffix,) = re.findall(r"`(\?access_mode=\w+)`", TRIED)
    address = section.opening.replace(f'{FILE}", connect_args={{"read_only": True}}', f'{FILE}{suffix}"')
    assert address != section.opening
    assert python(Recipe(address).asking_thrice(PUBLISHING), folder, python_clients) == [OLD, NEW, NEW]


def test_the_command_line(folder: Path, python_clients: Path) -> None:
    once = recipe("DuckDB's command line").opening
    path = f"{python_clients / 'duckdb_cli'}{os.pathsep}{os.environ['PATH']}"
    found = printed(["sh"], folder, f"{once}\nmv next.duckdb {FILE}\n{once}", PATH=path)
    assert answers(found) == [OLD, NEW]


def shell(python_clients: Path) -> str:
    return str(python_clients / "duckdb_cli" / "duckdb")


def test_the_command_line_that_stays_open(folder: Path, python_clients: Path) -> None:
    once, reopening = recipe("DuckDB's command line")
    (question,) = re.findall(r'"(select .+)"', once)
    program = Recipe(f"{question};", reopening).asking_thrice(f".shell mv next.duckdb {FILE}")
    assert answers(printed([shell(python_clients), "-readonly", FILE], folder, program)) == [OLD, OLD, NEW]


def test_beside_tables_of_your_own(folder: Path, python_clients: Path) -> None:
    program = recipe("Beside tables of your own").asking_thrice(f".shell mv next.duckdb {FILE}")
    found = printed([shell(python_clients)], folder, program)
    assert answers(found) == [OLD, OLD, NEW]
    reached = [int(count) for count in re.findall(r"\bimport_submitted\W+(\d+)", found)]
    assert reached == [each["submitted"] for each in (OLD, OLD, NEW)]


def node(asked: Recipe, folder: Path, packages: Path) -> list[dict[str, int]]:
    publishing = f'import {{ renameSync }} from "node:fs";\nrenameSync("next.duckdb", "{FILE}");'
    program = folder / "program.mjs"
    program.write_text(asked.asking_thrice(publishing), encoding="utf-8")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return answers(printed([str(NODE), str(program)], folder))


def test_node(folder: Path, node_clients: Path) -> None:
    assert node(recipe("Node"), folder, node_clients) == [OLD, OLD, NEW]


def test_node_with_an_instance_from_the_cache(folder: Path, node_clients: Path) -> None:
    opening, reconnecting = (block.replace(".create(", ".fromCache(") for block in recipe("Node"))
    still_open = reconnecting.replace("connection.closeSync();\ninstance.closeSync();\n", "")
    assert still_open != reconnecting
    assert node(Recipe(opening, still_open), folder, node_clients) == [OLD, OLD, OLD]
