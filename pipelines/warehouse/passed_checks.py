"""Records which checks passed over every row of each published file. A refresh narrows only these to what changed.

A refresh leaves rows as they are in the file that it continues, which may be an older one than the published file. So
each file that may be continued has a record of its own. They are in `state/checks.json`, not in the warehouse, because
a build that fails is not published, and the next one must know what failed. Without a record, every check looks at all
rows.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.warehouse.check import Check

_Versions = dict[str, str]


def read(home: Home, build_id: str) -> _Versions:
    """The checks that hold for every row of this published build, with their versions."""
    return _read(home).get(build_id, {})


def write(home: Home, build_id: str, versions: Mapping[str, str], others: Collection[str]) -> None:
    """Record the checks that hold for every row of this build. Call it once the build is published.

    Of other builds, only the records of `others` are kept: their files may still be continued.
    """
    held = {name: passed for name, passed in _read(home).items() if name in others}
    _write(home, held | {build_id: dict(versions)})


def forget(home: Home, names: Iterable[str]) -> None:
    """Remove checks that did not pass from the records of all builds. They must see every row again."""
    before, names = _read(home), frozenset(names)
    now = {
        build_id: {name: version for name, version in passed.items() if name not in names}
        for build_id, passed in before.items()
    }
    if now != before:
        _write(home, now)


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


def _read(home: Home) -> dict[str, _Versions]:
    try:
        builds = json.loads(_file(home).read_text(encoding="utf-8"))["builds"]
        return {build_id: dict(passed) for build_id, passed in builds.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(home: Home, builds: Mapping[str, _Versions]) -> None:
    write_text(json.dumps({"builds": builds}), _file(home))


def _file(home: Home) -> Path:
    return home.state / "checks.json"
