"""Reads the models in sql/ from their text: name, description, columns, dependencies, lineage, version.

A model is one bare SELECT. The comment above it is its description and ends in directives: `grain:` the key columns,
`refresh:` what is replaced when something changes. The comment behind an output column documents that column. Nothing
about a model is written down anywhere else. `build.py` builds the tables.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal, cast, get_args

import sqlglot
from sqlglot import exp, lineage
from sqlglot.tokens import Tokenizer

from pipelines.home.packaged import project_file
from pipelines.oneschema.vocabulary import EmbedStatus, FunnelStep
from pipelines.warehouse.functions import function_names, functions_text
from pipelines.warehouse.parameters import PARAMETER_NAMES
from pipelines.warehouse.sql_errors import ModelError, blamed_on

SQL = project_file("sql")

# What is replaced when something changes. The first four are units: the model's rows of one unit value must come only
# from its inputs' rows of the same value. `merge`: new rows join the held rows of their key.
Refresh = Literal["lake_partition", "embed_id", "event_date", "entry_date", "merge", "whole", "view"]

_DIRECTIVE = re.compile(r"^(grain|refresh|severity|table|scope|finds|kind|unit): (.+)$")

# What the comment behind a column ends with where the column is never NULL.
_REQUIRED = "; not null"


@dataclass(frozen=True)
class Header:
    """The comment above a statement: prose, and the directives at its end."""

    description: str
    directives: Mapping[str, str]


@dataclass(frozen=True)
class Model:
    """One table or view of the warehouse and the SELECT that makes it."""

    name: str
    sql: str
    description: str
    grain: tuple[str, ...]
    refresh: Refresh
    columns: Mapping[str, str]
    has_claim_columns: bool
    depends_on: tuple[str, ...]
    sources: tuple[str, ...]
    parameters: tuple[str, ...]
    code_version: str
    _tree: exp.Query = field(repr=False, compare=False)

    @property
    def file(self) -> str:
        """The model's file, as messages name it."""
        return f"sql/{self.name}.sql"

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that their comments say are never NULL."""
        return tuple(name for name, comment in self.columns.items() if comment.endswith(_REQUIRED))

    @cached_property
    def column_lineage(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """The (relation, column) pairs behind each output column. A source relation is named `source.x`."""
        nodes = lineage.lineage(
            None,
            self._tree.copy(),
            schema=known_columns(),
            dialect="duckdb",
            trim_selects=False,
            validate_qualify_columns=False,
            allow_partial_qualification=True,
            quote_identifiers=False,
            identify=False,
        )
        origins: dict[str, tuple[tuple[str, str], ...]] = {}
        for column in self.columns:
            found: set[tuple[str, str]] = set()
            for node in nodes[column].walk():
                if isinstance(node.expression, exp.Table) and not node.downstream:
                    table = node.expression
                    name = f"{table.db}.{table.name}" if table.db else table.name
                    found.add((name, node.name.rsplit(".", 1)[-1].strip('"')))
            origins[column] = tuple(sorted(found))
        return origins


def read_header(text: str, name: str) -> Header:
    """The comment lines at the top of the file `name`. Raises ModelError where there is no description."""
    prose: list[str] = []
    directives: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        content = line.removeprefix("--").strip()
        if match := _DIRECTIVE.match(content):
            directives[match[1]] = match[2].strip()
        else:
            prose.append(content)
    description = " ".join(filter(None, prose))
    if not description:
        raise ModelError(f"{name} has no comment at its top that says what it is.")
    return Header(description, directives)


def version_of(sql: str) -> str:
    """A digest of the statement that comments and white space do not change."""
    tokens = " ".join(f"{token.token_type.name}:{token.text}" for token in Tokenizer(dialect="duckdb").tokenize(sql))
    return hashlib.sha256(tokens.encode()).hexdigest()[:16]


@cache
def load_models(folder: Path = SQL) -> list[Model]:
    """Every model in `folder`, after the models that it reads. Raises ModelError, which names a file that is wrong."""
    models = {path.stem: _read_model(path) for path in sorted(folder.glob("*.sql"))}
    for model in models.values():
        if unknown := set(model.depends_on) - models.keys():
            raise ModelError(f"{model.file} reads {', '.join(sorted(unknown))}, which is not a model.")
    order = TopologicalSorter({name: sorted(model.depends_on) for name, model in sorted(models.items())})
    try:
        return [models[name] for name in order.static_order()]
    except CycleError as error:
        # In the error's list, each model is read by the next one.
        circle = " is read by ".join(models[name].file for name in error.args[1])
        raise ModelError(f"Models read each other in a circle: {circle}.") from None


def downstream_of(names: set[str], models: list[Model]) -> set[str]:
    """`names` and every model that depends on them, directly or not."""
    reached = set(names)
    for model in models:
        if reached.intersection(model.depends_on):
            reached.add(model.name)
    return reached


def _read_model(path: Path) -> Model:
    file = f"sql/{path.name}"
    with blamed_on(file):
        text = path.read_text(encoding="utf-8")
        header = read_header(text, file)
        trees = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        raise ModelError(f"{file} is not one SELECT.")
    refresh = header.directives.get("refresh", "")
    if refresh not in get_args(Refresh):
        raise ModelError(f"{file} needs a line `-- refresh:` with one of {', '.join(get_args(Refresh))}.")
    columns, has_claim_columns = _read_columns(tree, file)
    models, sources = read_relations(tree)
    grain = tuple(filter(None, header.directives.get("grain", "").split(", ")))
    if unknown := set(grain) - columns.keys():
        raise ModelError(f"{file}: its grain names {', '.join(sorted(unknown))}, which is not one of its columns.")
    return Model(
        name=path.stem,
        sql=text,
        description=header.description,
        grain=grain,
        refresh=cast(Refresh, refresh),
        columns=columns,
        has_claim_columns=has_claim_columns,
        depends_on=models,
        sources=sources,
        parameters=read_parameters(tree),
        code_version=version_with_functions(text, tree),
        _tree=tree,
    )


def version_with_functions(sql: str, tree: exp.Query) -> str:
    """The version of a statement, which changes with the functions in sql/functions/ where it calls one."""
    calls = {call.name.lower() for call in tree.find_all(exp.Anonymous)}
    return version_of(sql if function_names().isdisjoint(calls) else sql + functions_text())


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
        columns[selected.alias_or_name] = comment
    return columns, has_claim_columns


def _comments(selected: exp.Expr) -> Iterator[str]:
    # sqlglot puts the comment on the alias or on the aliased expression, whichever ended last before the comma.
    yield from selected.comments or ()
    if isinstance(selected, exp.Alias) and not selected.comments:
        yield from selected.this.comments or ()


def read_relations(tree: exp.Query) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models that a SELECT reads, and the relations of schema `source`."""
    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    models: set[str] = set()
    sources: set[str] = set()
    for table in tree.find_all(exp.Table):
        if table.db == "source":
            sources.add(table.name)
        # sqlglot reads a table function (generate_series, read_csv) as a table without a name.
        elif table.name and table.name not in local:
            models.add(table.name)
    return tuple(sorted(models)), tuple(sorted(sources))


def read_parameters(tree: exp.Query) -> tuple[str, ...]:
    """The columns of source.parameters that a SELECT names."""
    return tuple(sorted(PARAMETER_NAMES.intersection(column.name for column in tree.find_all(exp.Column))))


@cache
def known_columns() -> dict[str, object]:
    """The columns of every relation, by schema, to resolve unqualified names. Lineage ignores the types."""
    from pipelines.flatten import lake_tables as lake
    from pipelines.raw import raw_tables as raw
    from pipelines.warehouse.sources import BuildFacts

    tables = (
        *(lake.LAKE_EMBED_EVENTS, lake.LAKE_VALIDATION_ERRORS, lake.QUARANTINE, lake.LAKE_DAYS, lake.CLAIMS_CATALOGUE),
        *(raw.RAW_EMBEDS, raw.RAW_SWEEPS),
    )
    sources: dict[str, list[str]] = {table.name: table.names for table in tables}
    for name in ("embed_events", "validation_errors"):
        sources[name] = [*sources[name], "lake_partition"]
    sources |= {
        "parameters": sorted(PARAMETER_NAMES),
        "build": [field.name for field in fields(BuildFacts)],
        "table_rows": ["table_name", "row_count"],
        "raw_deliveries": ["lake_partition", "delivery_count"],
        "event_types": ["event_type", "description"],
        "trigger_types": ["trigger_type"],
        "funnel_steps": list(FunnelStep._fields),
        "embed_statuses": list(EmbedStatus._fields),
    }
    return {
        "main": {model.name: dict.fromkeys(model.columns, "varchar") for model in load_models()},
        "source": {name: dict.fromkeys(columns, "varchar") for name, columns in sources.items()},
    }
