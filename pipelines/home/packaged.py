"""Finds the project's files that are not Python: at the root of a checkout, or inside an installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def project_file(name: str) -> Path:
    """The path of `dagster.yaml`, `workspace.yaml` or `sql`. Raises FileNotFoundError for a broken installation."""
    for path in (_PACKAGE / name, _PACKAGE.parent / name):
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} belongs to this installation and is missing: install embed-analytics again.")
