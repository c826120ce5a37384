"""The wheel is all that an installation needs: the command runs from an empty folder, away from any checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import duckdb
import pytest

from pipelines.home.code_version import code_version
from tests.project.checkout import ROOT

pytestmark = pytest.mark.slow

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("ONESCHEMA", "EMBED_", "DAGSTER", "PYTHON"))}


def run(cwd: Path, *command: object, **settings: str) -> str:
    """What a program prints; it must succeed."""
    arguments = [str(argument) for argument in command]
    done = subprocess.run(arguments, cwd=cwd, env=ENVIRONMENT | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a virtual environment with the wheel, which borrows the packages of this one."""
    root = tmp_path_factory.mktemp("wheel")
    run(ROOT, sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", root)
    (wheel,) = root.glob("*.whl")
    venv.create(root / "venv", with_pip=True)
    python = root / "venv" / "bin" / "python"
    run(root, python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    # A plain line adds the folder and nothing that its own .pth files name, such as this checkout.
    packages = run(root, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(packages) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python.parent


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path


def test_it_has_what_is_not_python(programs: Path, empty: Path) -> None:
    code = (
        "import json, assets, pipelines\n"
        "from pipelines.home.packaged import project_file\n"
        "names = ('dagster.yaml', 'workspace.yaml', 'sql')\n"
        "print(json.dumps([assets.__file__, pipelines.__file__, *(str(project_file(name)) for name in names)]))"
    )
    found = json.loads(run(empty, programs / "python", "-c", code))
    assert all(Path(path).is_relative_to(programs.parent) for path in found), found
    sql = {path.relative_to(ROOT / "sql") for path in (ROOT / "sql").rglob("*.*")}
    assert {path.relative_to(found[-1]) for path in Path(found[-1]).rglob("*.*")} == sql


def test_its_code_version_is_that_of_the_checkout(programs: Path, empty: Path) -> None:
    code = "from pipelines.home.code_version import code_version; print(code_version())"
    assert run(empty, programs / "python", "-c", code).strip() == code_version()


def test_the_command_and_the_demo_run_from_an_empty_folder(programs: Path, empty: Path) -> None:
    command = programs / "embed-analytics"
    assert "refresh" in run(empty, command, "--help")
    assert [*empty.iterdir()] == []
    said = run(empty, command, "demo", "--embeds", "40", "--days", "2")
    assert f"{command} refresh" in said, "it names the program that is there"
    with duckdb.connect(empty / "demo-data" / "warehouse.duckdb", read_only=True) as connection:
        assert connection.execute("select count(*) from fct_embeds").fetchone() == (40,)


def test_dagster_loads_the_definitions(programs: Path, empty: Path) -> None:
    workspace = run(
        empty,
        programs / "python",
        "-c",
        "from pipelines.home.packaged import project_file; print(project_file('workspace.yaml'))",
    ).strip()
    home = {"EMBED_ANALYTICS_HOME": str(empty / "home"), "DAGSTER_HOME": str(empty)}
    run(empty, programs / "python", "-m", "dagster", "definitions", "validate", "-w", workspace, **home)
