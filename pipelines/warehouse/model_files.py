"""Reads models from their text: name, description, columns, dependencies, version.

A model is one bare SELECT. The comment above it is its description and ends in directives: `grain:` the key columns,
`refresh:` its kind (`kinds.py`), `time:` when the passing of time changes its rows. The comment behind an output column
documents that column, and where it ends in `; not null`, the column never is.
"""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import sqlglot
from sqlglot import exp

from pipelines.warehouse.contracts import require_kept
from pipelines.warehouse.kinds import KINDS, MOVING
from pipelines.warehouse.model import Model, Moment
from pipelines.warehouse.parameters import PARAMETER_NAMES
from pipelines.warehouse.sql_errors import ModelError, blamed_on
from pipelines.warehouse.statements import (
    Header,
    parse_select,
    read_header,
    read_parameters,
    read_relations,
    version_with_functions,
)

_MOMENT = re.compile(r"(\w+) reaches (.+)")


def read_models(folder: Path) -> list[Model]:
    """Every model in `folder`, after the models that it reads. Raises ModelError, which names a file that is wrong."""
    models = {path.stem: _read_model(path) for path in sorted(folder.glob("*.sql"))}
    for model in models.values():
        if unknown := set(model.depends_on) - models.keys():
            raise ModelError(f"{model.file} reads {', '.join(sorted(unknown))}, which is not a model.")
        if shadowing := {cte.alias.lower() for cte in model.tree.find_all(exp.CTE)} & models.keys():
            raise ModelError(f"{model.file} names a CTE {min(shadowing)}, which is a model: name it otherwise.")
    order = TopologicalSorter({name: sorted(model.depends_on) for name, model in sorted(models.items())})
    try:
        ordered = [models[name] for name in order.static_order()]
    except CycleError as error:
        # In the error's list, each model is read by the next one.
        circle = " is read by ".join(models[name].file for name in error.args[1])
        raise ModelError(f"Models read each other in a circle: {circle}.") from None
    require_kept(models)
    return ordered


def _read_model(path: Path) -> Model:
    file = f"sql/{path.name}"
    with blamed_on(file):
        text = path.read_text(encoding="utf-8")
        header = read_header(text, file)
    tree = parse_select(text, file)
    refresh = header.directives.get("refresh", "")
    if refresh not in KINDS:
        raise ModelError(f"{file} needs a line `-- refresh:` with one of {', '.join(KINDS)}.")
    columns, has_claim_columns = _read_columns(tree, file)
    with blamed_on(file):
        models, sources = read_relations(tree, file)
        moments = tuple(_read_moment(line, file) for line in header.times)
    return Model(
        name=path.stem,
        sql=text,
        description=header.description,
        grain=_read_grain(header, columns, file),
        refresh=refresh,
        moments=moments,
        columns=columns,
        has_claim_columns=has_claim_columns,
        depends_on=models,
        sources=sources,
        parameters=read_parameters(tree, file),
        code_version=version_with_functions(text, tree),
    )


def _read_grain(header: Header, columns: Mapping[str, str], file: str) -> tuple[str, ...]:
    names = [name.strip().strip('"') for name in header.directives.get("grain", "").split(",") if name.strip()]
    as_written = {column.lower(): column for column in columns}
    if unknown := [name for name in names if name.lower() not in as_written]:
        raise ModelError(f"{file}: its grain names {', '.join(unknown)}, which is not one of its columns.")
    return tuple(as_written[name.lower()] for name in names)


def _read_moment(line: str, file: str) -> Moment:
    match = _MOMENT.fullmatch(line)
    if match is None or match[1] not in MOVING:
        raise ModelError(
            f"{file}: `-- time: {line}` is not of the form `-- time: <{' or '.join(sorted(MOVING))}> reaches "
            "<table>.<column> + <interval>`."
        )
    columns = list(sqlglot.parse_one(match[2], dialect="duckdb").find_all(exp.Column))
    tables = {column.table.lower() for column in columns if column.table}
    strangers = {column.name.lower() for column in columns if not column.table} - PARAMETER_NAMES
    if len(tables) != 1 or strangers:
        raise ModelError(
            f"{file}: `-- time: {line}` needs columns of one table, each as <table>.<column>; other names are those of "
            "source.parameters."
        )
    return Moment(match[1], tables.pop(), match[2])


def _read_columns(tree: exp.Query, file: str) -> tuple[dict[str, str], bool]:
    columns: dict[str, str] = {}
    has_claim_columns = False
    for selected in tree.selects:
        if isinstance(selected, exp.Columns):
            has_claim_columns = True
            continue
        comment = " ".join(filter(None, (line.strip() for line in _comments(selected))))
        if not comment:
            raise ModelError(f"{file}: column {selected.alias_or_name} has no comment behind it.")
        if selected.alias_or_name.lower() in map(str.lower, columns):
            raise ModelError(f"{file} has two columns named {selected.alias_or_name}.")
        columns[selected.alias_or_name] = comment
    return columns, has_claim_columns


def _comments(selected: exp.Expr) -> Iterator[str]:
    # sqlglot puts the comment on the alias or on the aliased expression, whichever ended last before the comma.
    yield from selected.comments or ()
    if isinstance(selected, exp.Alias) and not selected.comments:
        yield from selected.this.comments or ()
