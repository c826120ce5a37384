"""Data checks: SELECTs of the rows that should not be there. `check_files.py` says what their files must be like.

More checks follow from what a model says of its own rows (`constraints.py`). Running them is `run_checks.py`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigurationError
from pipelines.home.derived import derived
from pipelines.warehouse.check import Check
from pipelines.warehouse.models import SQL

CHECKS = SQL / "checks"


@cache
def load_checks(folder: Path = CHECKS) -> list[Check]:
    """Every check, by name: those of `folder`, and the models' constraints. Raises ModelError naming a wrong file."""
    if folder == CHECKS:
        return [_restored(record) for record in derived("checks", lambda: [asdict(check) for check in _read(CHECKS)])]
    return _read(folder)


def require_acknowledgeable(acknowledged: Mapping[str, Collection[str]], checks: Iterable[Check]) -> None:
    """Raises ConfigurationError where the setting names no check, or one that blocks publishing."""
    warnings = {check.name for check in checks if check.severity == "warn"}
    if unknown := sorted(acknowledged.keys() - warnings):
        raise ConfigurationError(
            f"A setting cannot be used: EMBED_ANALYTICS_ACKNOWLEDGED: {', '.join(unknown)}: not a check that warns. "
            f"Those are {', '.join(sorted(warnings))}."
        )


def _read(folder: Path) -> list[Check]:
    from pipelines.warehouse.check_files import read_checks

    return read_checks(folder)


def _restored(record: dict[str, Any]) -> Check:
    fields: dict[str, Any] = {name: tuple(record[name]) for name in ("depends_on", "sources", "parameters")}
    return Check(**record | fields)
