"""The models in sql/, in the order in which they are built. `model_files.py` says what their files must be like.

Nothing about a model is written down outside its file. `contracts.py` holds models to their kinds, `build.py` builds
the tables.
"""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.home.derived import derived
from pipelines.home.packaged import project_file
from pipelines.warehouse.model import Model, Moment

SQL = project_file("sql")


@cache
def load_models(folder: Path = SQL) -> list[Model]:
    """Every model in `folder`, after the models that it reads. Raises ModelError, which names a file that is wrong."""
    if folder == SQL:
        return [_restored(record) for record in derived("models", lambda: [asdict(model) for model in _read(SQL)])]
    return _read(folder)


def downstream_of(names: set[str], models: list[Model]) -> set[str]:
    """`names` and every model that depends on them, directly or not."""
    reached = set(names)
    for model in models:
        if reached.intersection(model.depends_on):
            reached.add(model.name)
    return reached


def _read(folder: Path) -> list[Model]:
    # It parses SQL, which takes a large library. What the project's own files say is mostly kept.
    from pipelines.warehouse.model_files import read_models

    return read_models(folder)


def _restored(record: dict[str, Any]) -> Model:
    fields: dict[str, Any] = {name: tuple(record[name]) for name in ("grain", "depends_on", "sources", "parameters")}
    fields["moments"] = tuple(Moment(**moment) for moment in record["moments"])
    return Model(**record | fields)
