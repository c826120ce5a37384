"""A service is installed from docs/deploy/service.lock: a part of the lock that everything is tested with."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"^([\w.-]+)==(\S+)(.*?)(?=^[\w.-]+==|\Z)", re.MULTILINE | re.DOTALL)


def pinned(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """The version of each package of a lock, and its hashes."""
    found = _PINNED.findall(path.read_text(encoding="utf-8"))
    return {name: (version, frozenset(re.findall(r"--hash=(\S+)", rest))) for name, version, rest in found}


def test_a_service_runs_the_versions_that_are_tested() -> None:
    service, everything = pinned(ROOT / "docs/deploy/service.lock"), pinned(ROOT / "requirements.lock")
    assert service.items() <= everything.items(), "make lock"
    assert all(hashes for _, hashes in service.values())
    assert service.keys() >= {"dagster", "dagster-webserver", "dagster-postgres", "vl-convert-python", "hatchling"}
    assert not service.keys() & {"pytest", "pyright", "playwright", "scipy"}


def test_a_lock_names_no_host() -> None:
    for lock in (ROOT / "docs/deploy/service.lock", ROOT / "requirements.lock"):
        assert "://" not in lock.read_text(encoding="utf-8")
