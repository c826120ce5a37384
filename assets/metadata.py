"""Describes tables to Dagster: column schemas, lineage, and links to the code."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.orchestration.file_tables import FileTable
from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.lineage import column_lineage
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import SQL

# At run time Dagster needs the bare class to tell a result from a value. For the type checker it is generic.
if TYPE_CHECKING:
    MaterializeResult = dg.MaterializeResult[Any]
else:
    MaterializeResult = dg.MaterializeResult


def file_table(table: FileTable, *code: tuple[str, Path]) -> dict[str, Any]:
    """Definition metadata of a table of Parquet files: its columns, and its code as (label, file)."""
    columns = [
        dg.TableColumn(
            column.name,
            column.dtype,
            column.description,
            constraints=dg.TableColumnConstraints(nullable=not column.required),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns), **code_references(code)}


def model_definition(model: Model, *code: tuple[str, Path]) -> dict[str, Any]:
    """Definition metadata of a SQL model, with its code as (label, file). Types are known only once it is built."""
    return {
        "dagster/column_schema": model_schema(model, [(name, "", text) for name, text in model.columns.items()]),
        "dagster/table_name": f"main.{model.name}",
        "grain": ", ".join(model.grain) or "none",
        **code_references([*((f"sql/{path}", SQL / path) for path in _files_of(model)), *code]),
    }


def model_schema(model: Model, columns: Iterable[tuple[str, str, str]]) -> dg.TableSchema:
    """The schema of columns (name, type, text), with the constraints that checks of these columns enforce."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                dtype or "not built yet",
                text,
                constraints=dg.TableColumnConstraints(
                    nullable=name not in model.required,
                    unique=model.grain == (name,),
                    other=[f"unique together: {', '.join(model.grain)}"]
                    if name in model.grain and len(model.grain) > 1
                    else None,
                ),
            )
            for name, dtype, text in columns
        ]
    )


def model_lineage(model: Model, sources: Mapping[str, dg.AssetKey], models: dg.AssetKey) -> dg.TableColumnLineage:
    """The columns behind each column. `sources` maps relations of schema `source`; models have keys below `models`."""

    def key_of(relation: str) -> dg.AssetKey | None:
        schema, _, name = relation.rpartition(".")
        return sources.get(name) if schema else dg.AssetKey([*models.path, name])

    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=key, column_name=name)
                for relation, name in origins
                if (key := key_of(relation)) is not None
            ]
            for column, origins in column_lineage(model).items()
        }
    )


def code_references(files: Iterable[tuple[str, Path]]) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Links to the code, as (label, file)."""
    references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = [
        dg.LocalFileCodeReference(file_path=str(path), line_number=1, label=label) for label, path in files
    ]
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=references)}


def _files_of(model: Model) -> list[str]:
    """The model's file, and its chart's if it has one."""
    return [f"{model.name}.sql", *([f"charts/{model.name}.sql"] if model.name in load_charts() else [])]
