"""The table macros in sql/macros/, stored in the warehouse for analysts."""

from pathlib import Path

import duckdb

from pipelines.oneschema.vocabulary import FUNNEL_STEPS
from pipelines.warehouse.literals import quoted
from pipelines.warehouse.models import SQL
from pipelines.warehouse.sql_errors import ModelError, blamed_on
from pipelines.warehouse.tables import columns_of

# Placeholders that the builder fills in. DuckDB binds column names before it knows a macro's arguments, so `by` chooses
# among columns that are written out. It also allows no subquery as an argument's default.
_BREAKDOWN = "/* breakdown_columns */"
_STEPS = "/* funnel_steps */"
_OPTIONAL = "/* optional_steps */"
_BREAKDOWN_NAMES = "/* breakdown_names */"
# DuckDB resolves the names in a macro where it is called. By the build's id a macro knows its own warehouse.
_BUILD_ID = "/* build_id */"

# A column that no setting fills gives way to the claim path of the same name.
_UNLESS_CLAIM = " and '{}' not in (select path from meta_claims)"


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Create or replace every macro in the warehouse."""
    for path in macro_files():
        with blamed_on(f"sql/macros/{path.name}", lines_before=None):
            text = _with_columns(path, columns_of(connection, "fct_embeds"), _unnamed(connection))
            connection.execute(_filled(path, text, _BUILD_ID, quoted(_build_id(connection))))


def macro_files() -> list[Path]:
    """The files of the macros, one macro each."""
    return sorted((SQL / "macros").glob("*.sql"))


def read_macro(path: Path) -> str:
    """The macro's text with the funnel's steps filled in. Raises ModelError, which names the file."""
    steps = ", ".join(quoted(step.step) for step in FUNNEL_STEPS)
    optional = ", ".join(quoted(step.step) for step in FUNNEL_STEPS if step.is_optional)
    return _filled(path, _filled(path, path.read_text(encoding="utf-8"), _STEPS, steps), _OPTIONAL, optional)


def _with_columns(path: Path, columns: list[str], unnamed: set[str]) -> str:
    cases = "\n            ".join(
        f"when \"by\" = '{column}'{_UNLESS_CLAIM.format(column) if column in unnamed else ''} then {column}::varchar"
        for column in columns
    )
    names = ", ".join(quoted(column) for column in columns)
    return _filled(path, _filled(path, read_macro(path), _BREAKDOWN, cases), _BREAKDOWN_NAMES, names)


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


def _filled(path: Path, text: str, placeholder: str, filling: str) -> str:
    if text.count(placeholder) != 1:
        raise ModelError(f"sql/macros/{path.name} must contain {placeholder} exactly once.")
    return text.replace(placeholder, filling)
