"""What a file in sql/ says, read from its text: the comment above the SELECT, what it reads, and its version."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.tokens import Tokenizer

from pipelines.warehouse.functions import function_names, functions_text
from pipelines.warehouse.parameters import PARAMETER_NAMES
from pipelines.warehouse.sql_errors import ModelError, blamed_on

_DIRECTIVE = re.compile(r"^(grain|refresh|time|severity|table|scope|finds|kind|unit): (.+)$")


@dataclass(frozen=True)
class Header:
    """The comment above a statement: prose, and the directives at its end. Of these, `time` may come more than once."""

    description: str
    directives: Mapping[str, str]
    times: tuple[str, ...] = ()


def read_header(text: str, name: str) -> Header:
    """The comment lines at the top of the file `name`. Raises ModelError where there is no description."""
    prose: list[str] = []
    directives: dict[str, str] = {}
    times: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        content = line.removeprefix("--").strip()
        match = _DIRECTIVE.match(content)
        if match and match[1] == "time":
            times.append(match[2].strip())
        elif match:
            directives[match[1]] = match[2].strip()
        else:
            prose.append(content)
    description = " ".join(filter(None, prose))
    if not description:
        raise ModelError(f"{name} has no comment at its top that says what it is.")
    return Header(description, directives, tuple(times))


def parse_select(text: str, file: str) -> exp.Query:
    """The one SELECT of the file `file`. Raises ModelError where it holds anything else, or cannot be read."""
    with blamed_on(file):
        trees = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise ModelError(f"{file} is not one SELECT.")
    return trees[0]


def version_of(sql: str) -> str:
    """A digest of the statement that comments and white space do not change."""
    tokens = " ".join(f"{token.token_type.name}:{token.text}" for token in Tokenizer(dialect="duckdb").tokenize(sql))
    return hashlib.sha256(tokens.encode()).hexdigest()[:16]


def version_with_functions(sql: str, tree: exp.Query) -> str:
    """The version of a statement, which changes with the functions in sql/functions/ where it calls one."""
    return version_of(sql if function_names().isdisjoint(read_calls(tree)) else sql + functions_text())


def read_calls(tree: exp.Query) -> frozenset[str]:
    """The functions and table functions that a SELECT calls and sqlglot does not know: among them are ours."""
    return frozenset(call.name.lower() for call in tree.find_all(exp.Anonymous))


def read_relations(tree: exp.Query, file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models that a SELECT reads, and the relations of schema `source`. Raises ModelError for any other schema."""
    local = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    models: set[str] = set()
    sources: set[str] = set()
    for table in tree.find_all(exp.Table):
        name, schema = table.name.lower(), table.db.lower()
        # Not a table function (generate_series, read_csv).
        if not isinstance(table.this, exp.Identifier):
            continue
        if schema == "source" and not table.catalog:
            sources.add(name)
        elif schema or table.catalog:
            raise ModelError(f"{file} reads {table.sql('duckdb')}: name a model alone, without its schema.")
        elif name not in local:
            models.add(name)
    return tuple(sorted(models)), tuple(sorted(sources))


def read_parameters(tree: exp.Query, file: str) -> tuple[str, ...]:
    """The columns of source.parameters that a SELECT names. Raises ModelError where it takes all of them by a star."""
    has_parameters = False
    for select in tree.find_all(exp.Select):
        sources = [table for table in _from(select) if table.db.lower() == "source"]
        for table in sources:
            if table.name.lower() != "parameters":
                continue
            has_parameters = True
            if any(_is_star_of(each, table.alias_or_name.lower()) for each in select.selects):
                raise ModelError(f"{file} selects * from source.parameters: name the columns that it needs.")
    names = {column.name.lower() for column in tree.find_all(exp.Column)}
    return tuple(sorted(PARAMETER_NAMES & names)) if has_parameters else ()


def _from(select: exp.Select) -> Iterator[exp.Table]:
    clauses = [select.args.get("from_") or select.args.get("from"), *select.args.get("joins", ())]
    yield from (clause.this for clause in clauses if clause is not None and isinstance(clause.this, exp.Table))


def _is_star_of(selected: exp.Expr, name: str) -> bool:
    if isinstance(selected, exp.Column):
        return selected.is_star and selected.table.lower() == name
    return isinstance(selected, exp.Star)
