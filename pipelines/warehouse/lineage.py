"""Which columns each column of a model is made of."""

from collections.abc import Mapping
from functools import cache

from pipelines.home.derived import derived
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import load_models
from pipelines.warehouse.source_columns import source_columns

Origins = tuple[tuple[str, str], ...]
"""The (relation, column) pairs that a column is made of. A source relation is named `source.x`."""


@cache
def column_lineage(model: Model) -> Mapping[str, Origins]:
    """The origins of each output column."""
    if any(model is known for known in load_models()):
        return _lineage_of_all()[model.name]
    return _traced(model)


@cache
def _lineage_of_all() -> Mapping[str, Mapping[str, Origins]]:
    """The lineage of every model in sql/."""
    found = derived("lineage", lambda: {model.name: _traced(model) for model in load_models()})
    return {
        name: {column: tuple((relation, origin) for relation, origin in origins) for column, origins in columns.items()}
        for name, columns in found.items()
    }


def _traced(model: Model) -> dict[str, Origins]:
    from sqlglot import exp, lineage

    nodes = lineage.lineage(
        None,
        model.tree.copy(),
        schema=known_columns(),
        dialect="duckdb",
        trim_selects=False,
        validate_qualify_columns=False,
        allow_partial_qualification=True,
        quote_identifiers=False,
        identify=False,
    )
    by_name = {name.lower(): node for name, node in nodes.items()}
    origins: dict[str, Origins] = {}
    for column in model.columns:
        found: set[tuple[str, str]] = set()
        for node in by_name[column.lower()].walk():
            if isinstance(node.expression, exp.Table) and not node.downstream:
                table = node.expression
                name = f"{table.db}.{table.name}".removeprefix(".").lower()
                found.add((name, node.name.rsplit(".", 1)[-1].strip('"')))
        origins[column] = tuple(sorted(found))
    return origins


@cache
def known_columns() -> dict[str, object]:
    """The columns of every relation, by schema, to resolve unqualified names. Lineage ignores the types."""
    return {
        "main": {model.name: dict.fromkeys(model.columns, "varchar") for model in load_models()},
        "source": {name: dict.fromkeys(columns, "varchar") for name, columns in source_columns().items()},
    }
