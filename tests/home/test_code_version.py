"""The version that a build carries: equal for equal files, different for any change of pipelines/ or sql/."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.home.code_version import code_version, digest_of
from pipelines.warehouse.build import BuildOptions


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package and its models, of a few files."""
    for name, text in {
        "pipelines/__init__.py": "",
        "pipelines/poll/sweep.py": "A = 1\n",
        "sql/fct_embeds.sql": "select 1\n",
        "sql/checks/unique.sql": "select 2\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def digest(project: Path) -> str:
    return digest_of(project / "pipelines", project / "sql")


def test_it_is_the_package_s_version_and_a_digest() -> None:
    name, _, digest = code_version().partition("+")
    assert name == version("embed-analytics")
    assert len(digest) == 12
    assert set(digest) <= set("0123456789abcdef")
    assert BuildOptions().code_version == code_version()


CHANGES: dict[str, Callable[[Path], object]] = {
    "python": lambda root: (root / "pipelines/poll/sweep.py").write_text("A = 2\n"),
    "model": lambda root: (root / "sql/fct_embeds.sql").write_text("select 3\n"),
    "check": lambda root: (root / "sql/checks/unique.sql").write_text("select 3\n"),
    "new file": lambda root: (root / "pipelines/new.py").write_text(""),
    "file removed": lambda root: (root / "sql/checks/unique.sql").unlink(),
    "file renamed": lambda root: (root / "sql/fct_embeds.sql").rename(root / "sql/fct_sessions.sql"),
    "text moved to another file": lambda root: [
        (root / "sql/fct_embeds.sql").write_text("select 2\n"),
        (root / "sql/checks/unique.sql").write_text("select 1\n"),
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_the_code_is_another_version(project: Path, change: str) -> None:
    before = digest(project)
    CHANGES[change](project)
    assert digest(project) != before


def test_what_is_not_code_changes_nothing(project: Path) -> None:
    before = digest(project)
    (project / "pipelines/poll/__pycache__").mkdir()
    (project / "pipelines/poll/__pycache__/sweep.cpython-311.pyc").write_bytes(b"\x00")
    (project / "sql/.fct_embeds.sql.swp").write_text("")
    assert digest(project) == before


def test_models_inside_the_package_or_beside_it_are_the_same(project: Path) -> None:
    before = digest(project)
    (project / "sql").rename(project / "pipelines/sql")
    assert digest_of(project / "pipelines", project / "pipelines/sql") == before
