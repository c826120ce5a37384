"""The table macros in sql/macros/, stored in the warehouse for analysts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from pipelines.oneschema.vocabulary import FUNNEL_STEPS
from pipelines.warehouse.literals import quoted
from pipelines.warehouse.models import SQL
from pipelines.warehouse.sql_errors import ModelError, blamed_on
from pipelines.warehouse.tables import columns_of

# What the builder fills in. DuckDB binds column names before it knows a macro's arguments, so `by` chooses among
# columns that are written out. It also allows no subquery as an argument's default.
_PLACEHOLDER = re.compile(r"/\* (\w+) \*/")
# DuckDB resolves the names in a macro where it is called. By the build's id a macro knows its own warehouse.
_BUILD_ID = "build_id"

# A column that no setting fills gives way to the claim path of the same name.
_UNLESS_CLAIM = " and '{}' not in (select path from meta_claims)"


def create_macros(connection: duckdb.DuckDBPyConnection, files: Sequence[Path] | None = None) -> None:
    """Create or replace macros in the warehouse: those of these files, by default every one."""
    of_the_warehouse = _breakdowns(columns_of(connection, "fct_embeds"), _unnamed(connection))
    of_the_warehouse[_BUILD_ID] = quoted(_build_id(connection))
    for path in macro_files() if files is None else files:
        with blamed_on(f"sql/macros/{path.name}", lines_before=None):
            text = read_macro(path)
            if _BUILD_ID not in _PLACEHOLDER.findall(text):
                raise ModelError(f"sql/macros/{path.name} must compare meta_build.build_id with /* {_BUILD_ID} */.")
            text = _filled(text, of_the_warehouse)
            if unknown := _PLACEHOLDER.search(text):
                raise ModelError(f"sql/macros/{path.name}: nothing fills in the placeholder {unknown[0]}.")
            connection.execute(text)


def macro_files() -> list[Path]:
    """The files of the macros, one macro each."""
    return sorted((SQL / "macros").glob("*.sql"))


def read_macro(path: Path) -> str:
    """The macro's text, with its name, the parts that macros share and the funnel's steps filled in."""
    parts = {part.stem: part.read_text(encoding="utf-8").strip() for part in (SQL / "macros" / "parts").glob("*.sql")}
    known = {
        "macro_name": path.stem,
        "funnel_steps": ", ".join(quoted(step.step) for step in FUNNEL_STEPS),
        "optional_steps": ", ".join(quoted(step.step) for step in FUNNEL_STEPS if step.is_optional),
    }
    return _filled(_filled(path.read_text(encoding="utf-8"), parts), known)


def _breakdowns(columns: list[str], unnamed: set[str]) -> dict[str, str]:
    cases = "\n            ".join(
        f"when \"by\" = '{column}'{_UNLESS_CLAIM.format(column) if column in unnamed else ''} then {column}::varchar"
        for column in columns
    )
    return {"breakdown_columns": cases, "breakdown_names": ", ".join(quoted(column) for column in columns)}


def _build_id(connection: duckdb.DuckDBPyConnection) -> str:
    ((build_id,),) = connection.execute("select build_id from warehouse.main.meta_build").fetchall()
    return str(build_id)


def _unnamed(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The columns of fct_embeds for which no setting names a claim."""
    row = connection.execute("""
        select list_filter(
            [
                case when coalesce(customer_id_claim, customer_claim) is null then 'customer_id' end,
                case when customer_claim is null then 'customer_name' end,
                case when plan_claim is null then 'plan' end
            ],
            lambda name: name is not null
        )
        from source.parameters
    """).fetchone()
    return set(row[0]) if row else set()


def _filled(text: str, fillings: Mapping[str, str]) -> str:
    """The text with these placeholders filled in, and others as they are."""
    return _PLACEHOLDER.sub(lambda found: fillings.get(found[1], found[0]), text)
