"""Reads data checks. Each file in sql/checks/ is a SELECT of the rows that should not be there.

Its leading comment says what must hold and ends in directives. `table:` is the table that it checks. `severity:` is
error (the warehouse is not published) or warn. `scope:` is a unit, or `whole`: a refresh checks only the unit's changed
values, where `passed_checks.py` says that it may. `finds:` says what was found, and names one column in braces:
`types that are not listed: {event_type}`. That column's values are what a warning shows, and what is acknowledged.

A check may call the macros in sql/macros/: what they answer is published, too. Such a check has no scope.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from pipelines.warehouse.check import SUBJECT, Check
from pipelines.warehouse.constraints import constraints_of
from pipelines.warehouse.contracts import tracks
from pipelines.warehouse.kinds import MOVING, SETTLED, UNIT_TYPES
from pipelines.warehouse.macros import macro_files
from pipelines.warehouse.models import load_models
from pipelines.warehouse.sql_errors import ModelError, blamed_on
from pipelines.warehouse.statements import (
    parse_select,
    read_calls,
    read_header,
    read_parameters,
    read_relations,
    version_of,
    version_with_functions,
)


def read_checks(folder: Path) -> list[Check]:
    """Every check, by name: those of `folder`, and the models' constraints. Raises ModelError naming a wrong file."""
    checks: dict[str, Check] = {}
    for check in (*_constraint_checks(), *(read_check(path) for path in sorted(folder.glob("*.sql")))):
        if (other := checks.setdefault(check.name, check)) is not check:
            raise ModelError(f"{check.file} has the name of a check that follows from {other.file}: rename it.")
    return sorted(checks.values(), key=lambda check: check.name)


def _constraint_checks() -> Iterable[Check]:
    for model in load_models():
        for constraint in constraints_of(model):
            yield Check(
                name=constraint.name,
                file=model.file,
                table=model.name,
                severity="error",
                scope=constraint.scope,
                finds=None,
                sql=constraint.sql,
                description=constraint.description,
                depends_on=(model.name,),
                sources=(),
                parameters=(),
                code_version=version_of(constraint.sql),
            )


def read_check(path: Path) -> Check:
    """The check in a file. Raises ModelError, which names the file."""
    file = f"sql/checks/{path.name}"
    with blamed_on(file):
        text = path.read_text(encoding="utf-8")
    header = read_header(text, file)
    severity, scope = header.directives.get("severity"), header.directives.get("scope", "whole")
    if severity not in ("error", "warn") or "table" not in header.directives or scope not in (*UNIT_TYPES, "whole"):
        raise ModelError(f"{file} needs the lines `-- table:`, `-- severity:` and, if any, `-- scope:`.")
    finds = header.directives.get("finds")
    if finds is not None and len(SUBJECT.findall(finds)) != 1:
        raise ModelError(f"{file}: its line `-- finds:` needs one column in braces, as in `damaged files: {{path}}`.")
    tree = parse_select(text, file)
    models, sources = read_relations(tree, file)
    check = Check(
        name=path.stem,
        file=file,
        table=header.directives["table"],
        severity=severity,
        scope=scope,
        finds=finds,
        sql=text,
        description=header.description,
        depends_on=models,
        sources=sources,
        parameters=read_parameters(tree, file),
        code_version=version_with_functions(text, tree),
    )
    _require_kept(check, read_calls(tree))
    return check


def _require_kept(check: Check, calls: Collection[str]) -> None:
    """Raises ModelError where the check reads what is not a model, or what its scope does not narrow."""
    models = {model.name: model for model in load_models()}
    if unknown := sorted({check.table, *check.depends_on} - models.keys()):
        raise ModelError(f"{check.file} names {', '.join(unknown)}, which is not a model.")
    if check.scope == "whole":
        return
    if macro := next((path.stem for path in macro_files() if path.stem in calls), None):
        raise ModelError(
            f"{check.file} has a scope and calls {macro}(), which reads more than the scope narrows: leave the "
            "scope out."
        )
    for name in check.depends_on:
        if models[name].kind.name == "whole" or not tracks(models[name], check.scope, models):
            raise ModelError(
                f"{check.file} has the scope {check.scope}, by which {name} cannot be narrowed: leave the scope out."
            )
    if others := sorted(set(check.sources) - SETTLED):
        raise ModelError(f"{check.file} has a scope and reads source.{others[0]}, which has none: leave the scope out.")
    followed = {
        moment.parameter
        for name in check.depends_on
        for moment in models[name].moments
        if models[name].kind.unit == check.scope
    }
    if moving := sorted(MOVING.intersection(check.parameters) - followed):
        raise ModelError(
            f"{check.file} has a scope and reads {moving[0]}: as time passes, rows fail that did not change. Leave the "
            "scope out."
        )
