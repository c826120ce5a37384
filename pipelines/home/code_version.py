"""Identifies the code: the package's version, and a digest that tells two states of the same version apart."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pipelines.home.packaged import project_file

_PACKAGE = Path(__file__).parents[1]


@cache
def code_version() -> str:
    """`0.1.0+3f9a52c07b1e`: the installed version, and the digest of pipelines/ and sql/ when this was first asked.

    The same files give the same text in a checkout and in an installed wheel.
    """
    return f"{version('embed-analytics')}+{present_digest()}"


def present_digest() -> str:
    """The digest of pipelines/ and sql/ as they are now."""
    return digest_of(_PACKAGE, project_file("sql"))


def changed_at() -> float:
    """When a file of pipelines/ or sql/ last changed, in seconds since the epoch."""
    return max(path.stat().st_mtime for _, path in _files(_PACKAGE, project_file("sql")))


def digest_of(package: Path, sql: Path) -> str:
    """12 hex digits over the names and contents of the Python files below `package` and the SQL files below `sql`."""
    digest = hashlib.blake2b(digest_size=6)
    for name, path in _files(package, sql):
        content = path.read_bytes()
        # The length in front keeps a file's content from passing for the next file's name.
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(package: Path, sql: Path) -> Iterator[tuple[str, Path]]:
    """Each file with a name that does not depend on where it is: a wheel carries sql/ inside the package."""
    for folder, root, suffix in (("pipelines", package, ".py"), ("sql", sql, ".sql")):
        for path in sorted(root.rglob(f"*{suffix}")):
            yield f"{folder}/{path.relative_to(root).as_posix()}", path
