"""Whether models keep to what their kinds ask of them, as far as the text of a SELECT can tell.

What it cannot tell is the author's promise: that rows of one unit come from the inputs' rows of that unit alone, and
that a `merge` model makes the same rows of its own rows and the new ones as of all.
"""

import re
from collections.abc import Iterable, Mapping

from pipelines.warehouse.kinds import MOVING, OBSERVED, Kind
from pipelines.warehouse.model import Model
from pipelines.warehouse.source_columns import source_columns
from pipelines.warehouse.sql_errors import ModelError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def require_kept(models: Mapping[str, Model]) -> None:
    """Raises ModelError, which names the first model that does not keep to its kind, and how to mend it."""
    for model in models.values():
        if problem := next(filter(None, (rule(model, models) for rule in _RULES)), None):
            raise ModelError(f"{model.file} {problem}.")


def tracks(model: Model, unit: str, models: Mapping[str, Model]) -> bool:
    """Whether a refresh can show only the model's rows of a unit's changed values: it has the column, and a view's
    inputs do as well."""
    return model.has_column(unit) and (
        not model.kind.is_view or all(tracks(models[name], unit, models) for name in model.depends_on)
    )


def noted_units(models: Mapping[str, Model], readers: Iterable[tuple[str, Iterable[str]]]) -> dict[str, set[str]]:
    """The units whose changed values a refresh must note of each model, since another one is replaced by them.

    `readers`: a unit, and the names of the models that are read by it; besides those of the models themselves.
    """
    noted: dict[str, set[str]] = {name: set() for name in models}

    def note(name: str, unit: str) -> None:
        noted[name].add(unit)
        if models[name].kind.is_view:
            for read in models[name].depends_on:
                note(read, unit)

    by_models = ((model.kind.unit, model.depends_on) for model in models.values() if model.kind.unit)
    for unit, names in (*by_models, *readers):
        for name in names:
            note(name, unit)
    return noted


def _is_named(model: Model, _: Mapping[str, Model]) -> str | None:
    if _NAME.fullmatch(model.name):
        return None
    return "has a name that a table cannot have here: use lower-case letters, digits and _"


def _reads_what_it_may(model: Model, models: Mapping[str, Model]) -> str | None:
    known = source_columns().keys()
    kind = model.kind
    for source in model.sources:
        if source not in known:
            return f"reads source.{source}, which does not exist. There are {', '.join(sorted(known))}"
        if not kind.may_read(source):
            return f"reads source.{source}, which a model of kind {kind.name} cannot. {_hint(kind, source)}"
    for name in model.depends_on:
        if kind.reads_models is not None and models[name].refresh not in kind.reads_models:
            return f"reads {name}, which a model of kind {kind.name} cannot. {_hint(kind, name)}"
    return None


def _hint(kind: Kind, name: str) -> str:
    if kind.is_view:
        return "A view reads models alone: see whether `refresh: whole` does"
    if kind.is_staging:
        return "Read it in another model"
    if name in OBSERVED or kind.sources is None:
        return "In a refresh it shows only what changed: read the staged model"
    return "Read it in a model with `refresh: whole`"


def _has_its_unit(model: Model, models: Mapping[str, Model]) -> str | None:
    unit = model.kind.unit
    if unit is None:
        return None
    if not model.has_column(unit):
        return f"is replaced by {unit} and has no column of that name"
    for name in model.depends_on:
        if not tracks(models[name], unit, models):
            return f"is replaced by {unit} and reads {name}, which has no such column. `refresh: whole` can read it"
    return None


def _says_when_time_changes_it(model: Model, models: Mapping[str, Model]) -> str | None:
    moving = MOVING.intersection(model.parameters)
    if moving and not model.kind.reads_time:
        return f"reads {min(moving)}, which a model of kind {model.kind.name} cannot: it is not known yet"
    if not model.kind.needs_moments:
        return "has a line `-- time:`, which only units need" if model.moments else None
    if silent := moving - {moment.parameter for moment in model.moments}:
        example = f"`-- time: {min(silent)} reaches {(*model.depends_on, model.name)[0]}.<column> + <interval>`"
        return f"reads {min(silent)} and does not say when its rows change as time passes: add a line {example}"
    for moment in model.moments:
        if moment.table not in (*model.depends_on, model.name):
            return f"says that time changes rows of {moment.table}, which it does not read"
    return None


def _merges(model: Model, _: Mapping[str, Model]) -> str | None:
    if not model.kind.is_merged:
        return None
    observed = OBSERVED.intersection(model.sources)
    if len(observed) != 1:
        return f"is of kind merge and does not read one of {', '.join(f'source.{name}' for name in sorted(OBSERVED))}"
    from sqlglot import exp

    (source,) = observed
    columns = source_columns()[source]
    if not model.grain or not set(model.grain) <= set(model.required):
        return "is of kind merge: it needs a line `-- grain:`, with columns whose comments end in `; not null`"
    aliases = [alias for alias in model.tree.find_all(exp.Alias) if alias.alias in columns]
    for selected in (*model.tree.selects, *aliases):
        name = selected.alias_or_name
        if name not in columns or name not in {column.name for column in selected.find_all(exp.Column)}:
            return f"is of kind merge, and its column {name} is not the one of source.{source}"
    named = {column.name for column in model.tree.find_all(exp.Column)}
    if lost := sorted(named.intersection(columns) - model.columns.keys()):
        return f"is of kind merge and reads {lost[0]} without keeping it: the next refresh could not read it again"
    return None


_RULES = (_is_named, _reads_what_it_may, _has_its_unit, _says_when_time_changes_it, _merges)
