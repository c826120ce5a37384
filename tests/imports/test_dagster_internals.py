"""One file imports what is private in Dagster, and the bound on its version is the one that the file was read for."""

import ast
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SOURCES = ("pipelines", "assets", "tests", "benchmarks")
INTERNALS = "pipelines/orchestration/instance/dagster_internals.py"


def private_imports(code: str) -> Iterator[str]:
    """What a module imports from inside a package of Dagster's: `dagster._core.loader`, or `dagster` and `_core`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, *path = name.split(".")
            if package.startswith("dagster") and any(part.startswith("_") for part in path):
                yield name


def test_one_file_imports_what_is_private_in_dagster() -> None:
    # Not in hidden folders: the benchmarks keep other people's packages in one.
    patterns = ("*.py", "[!.]*/**/*.py")
    files = [path for source in SOURCES for pattern in patterns for path in (ROOT / source).glob(pattern)]
    assert ROOT / INTERNALS in files
    importing = {str(path.relative_to(ROOT)) for path in files if list(private_imports(path.read_text()))}
    assert importing == {INTERNALS}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from dagster._core.events import DagsterEventType", ["dagster._core.events.DagsterEventType"]),
        ("def f():\n    import dagster_shared._x.y", ["dagster_shared._x.y"]),
        ("from dagster import _core, AssetKey", ["dagster._core"]),
        ("from dagster import AssetKey\nimport _thread\nfrom ._core import x", []),
    ],
)
def test_a_private_import_is_seen_however_it_is_written(code: str, found: list[str]) -> None:
    assert list(private_imports(code)) == found


@pytest.mark.parametrize("package", ["dagster", "dagster-webserver"])
def test_the_next_minor_release_of_dagster_is_not_installed_by_itself(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    (bound,) = [requirement.specifier for requirement in requirements if requirement.name == package]
    major, minor = (int(part) for part in version(package).split(".")[:2])
    assert bound.contains(version(package))
    assert not bound.contains(f"{major}.{minor + 1}.0")
