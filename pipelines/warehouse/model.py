"""One model of the warehouse, as its file in sql/ says. `models.py` reads the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile
from typing import TYPE_CHECKING

from pipelines.warehouse.kinds import KINDS, Kind

if TYPE_CHECKING:
    from sqlglot import exp

# What the comment behind a column ends with where the column is never NULL.
_REQUIRED = "; not null"


@dataclass(frozen=True)
class Moment:
    """When time changes a model's rows: once `parameter` of source.parameters reaches `sql`, which is made of the
    columns of one row of `table`. The rows of that row's unit change then."""

    parameter: str
    table: str
    sql: str


@dataclass(frozen=True, eq=False)
class Model:
    """One table or view of the warehouse and the SELECT that makes it."""

    name: str
    sql: str
    description: str
    grain: tuple[str, ...]
    refresh: str
    moments: tuple[Moment, ...]
    columns: Mapping[str, str]
    has_claim_columns: bool
    depends_on: tuple[str, ...]
    sources: tuple[str, ...]
    parameters: tuple[str, ...]
    code_version: str

    @cached_property
    def tree(self) -> exp.Query:
        """The SELECT, parsed. Whoever changes it takes a copy. Raises ModelError if it is not one SELECT."""
        from pipelines.warehouse.statements import parse_select

        return parse_select(self.sql, self.file)

    @property
    def statement(self) -> str:
        """The SELECT without the comment above it, which is the description and the directives."""
        lines = self.sql.splitlines()
        return "\n".join(dropwhile(lambda line: line.startswith("--"), lines))

    @property
    def file(self) -> str:
        """The model's file, as messages name it."""
        return f"sql/{self.name}.sql"

    @property
    def kind(self) -> Kind:
        """What a refresh does with it."""
        return KINDS[self.refresh]

    def has_column(self, name: str) -> bool:
        """Whether it has a column of this lower-case name. Case does not tell names apart in DuckDB."""
        return name in map(str.lower, self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that their comments say are never NULL."""
        return tuple(name for name, comment in self.columns.items() if comment.endswith(_REQUIRED))
