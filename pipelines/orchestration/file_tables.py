"""What Dagster shows of the tables of Parquet files in raw and lake, without the library that names their types."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pipelines.home.derived import derived

if TYPE_CHECKING:
    from pipelines.home.tables import Table


@dataclass(frozen=True)
class FileColumn:
    """One column: its name, its Polars type as text, and what it means."""

    name: str
    dtype: str
    description: str
    required: bool


@dataclass(frozen=True)
class FileTable:
    """A table of Parquet files below the home."""

    description: str
    columns: tuple[FileColumn, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


@cache
def file_tables() -> dict[str, FileTable]:
    """The tables that are assets, by asset: `raw/embed_events`, `lake/embed_events`, ..."""
    return {name: _restored(record) for name, record in _facts()["tables"].items()}


def flatten_version() -> str:
    """The version of the flattening: of its code, and of the columns."""
    return _facts()["flatten_version"]


@cache
def _facts() -> dict[str, Any]:
    return derived("file_tables", _read)


def _read() -> dict[str, Any]:
    from pipelines.flatten import days
    from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS
    from pipelines.raw.raw_tables import RAW_EMBED_EVENTS, RAW_EMBEDS, RAW_SWEEPS

    layers = {
        "raw": (RAW_EMBED_EVENTS, RAW_EMBEDS, RAW_SWEEPS),
        "lake": (LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS),
    }
    tables = {f"{layer}/{table.name}": _record(table) for layer, tables in layers.items() for table in tables}
    return {"tables": tables, "flatten_version": days.flatten_version()}


def _record(table: Table) -> dict[str, Any]:
    columns = tuple(
        FileColumn(column.name, str(column.dtype), column.description, column.required) for column in table.columns
    )
    return asdict(FileTable(table.description, columns))


def _restored(record: dict[str, Any]) -> FileTable:
    return FileTable(record["description"], tuple(FileColumn(**column) for column in record["columns"]))
