"""Describes a table of files once, for casts, checks, documentation and Dagster's schemas."""

from dataclasses import dataclass
from functools import cached_property

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column: its name, its Polars type, and what it means (units and source included)."""

    name: str
    dtype: pl.DataType
    description: str
    required: bool = False


@dataclass(frozen=True)
class Table:
    """A table of Parquet files below the home."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @cached_property
    def polars_schema(self) -> pl.Schema:
        """The schema. All callers share it: do not change it."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


# Every timestamp is UTC, in microseconds, without a zone. With TIMESTAMPTZ, Python readers of DuckDB would need another
# package.
TIMESTAMP = pl.Datetime("us")
