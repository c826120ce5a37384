"""What a model says of its own rows: its `grain:` is unique, and a column marked `; not null` is never NULL.

Each is written once, in the model. The build runs them as checks, and Dagster shows them as the table's constraints.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.warehouse.kinds import UNIT_TYPES
from pipelines.warehouse.literals import identifier
from pipelines.warehouse.model import Model


@dataclass(frozen=True)
class Constraint:
    """One constraint of a model: the SELECT of the rows that break it, and the unit to which a refresh narrows it."""

    name: str
    description: str
    scope: str
    sql: str


def constraints_of(model: Model) -> Iterator[Constraint]:
    """`<model>_unique` where it has a grain, `<model>_not_null` where it has columns that are never NULL."""
    scope, table = _scope(model), identifier(model.name)
    if model.grain:
        key = ", ".join(map(identifier, model.grain))
        sql = f"select {key}, count(*) as row_count\nfrom {table}\ngroup by {key}\nhaving count(*) > 1\n"
        yield Constraint(f"{model.name}_unique", f"No two rows have the same {_listed(model.grain)}.", scope, sql)
    if model.required:
        shown = ", ".join(map(identifier, dict.fromkeys((*model.grain, *model.required))))
        is_missing = " or ".join(f"{identifier(column)} is null" for column in model.required)
        sql = f"select {shown}\nfrom {table}\nwhere {is_missing}\n"
        yield Constraint(f"{model.name}_not_null", f"Never NULL: {_listed(model.required)}.", scope, sql)


def _scope(model: Model) -> str:
    """The unit by which the rows that a refresh touched are found: one of the grain, else the session."""
    if model.kind.name == "whole":
        return "whole"
    key = {column.lower() for column in model.grain}
    units = [unit for unit in UNIT_TYPES if unit in key]
    return units[0] if units else "embed_id" if model.has_column("embed_id") else "whole"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)
