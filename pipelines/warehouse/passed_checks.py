"""Records which checks passed over every row of the published file. A refresh narrows only these to what changed.

The record, `state/checks.json`, is not in the warehouse, because a build that fails is not published, and the next one
must know what failed. Without the record, or with that of another build, every check looks at all rows once.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.warehouse.check import Check


def read(home: Home, build_id: str) -> dict[str, str]:
    """The checks that hold for every row of this published build, with their versions."""
    try:
        noted = json.loads(_file(home).read_text(encoding="utf-8"))
        return dict(noted["versions"]) if noted["build_id"] == build_id else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def write(home: Home, build_id: str, versions: Mapping[str, str]) -> None:
    """Record the checks that hold for every row of this build. Call it once the build is published."""
    write_text(json.dumps({"build_id": build_id, "versions": versions}), _file(home))


def forget(home: Home, build_id: str, names: Iterable[str]) -> None:
    """Remove checks that did not pass in a build that continues this one. They must see every row again."""
    held = read(home, build_id)
    if not held.keys().isdisjoint(names := frozenset(names)):
        write(home, build_id, {name: version for name, version in held.items() if name not in names})


def narrowable(
    checks: Iterable[Check], passed: Mapping[str, str], versions: Mapping[str, str], rebuilt: Collection[str]
) -> frozenset[str]:
    """The checks that need to see only what changed. They have a scope, passed before in their present version, and
    read none of the models that were made from nothing (`rebuilt`)."""
    return frozenset(
        check.name
        for check in checks
        if check.scope != "whole"
        and passed.get(check.name) == versions[check.name]
        and not set(rebuilt).intersection(check.depends_on)
    )


def _file(home: Home) -> Path:
    return home.state / "checks.json"
