"""`embed-analytics query`: SQL on the published warehouse. How answers are printed is in answers.py.

Three walls guard it. A statement must be of a kind that reads. It is planned on a connection that can open no file, so
a statement that names one is refused. And it runs on a connection that loads nothing and changes no setting.
"""

import re
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from pipelines.errors import ConfigurationError, PermanentError
from pipelines.home.layout import Home
from pipelines.terminal.answers import FORMATS, print_answer
from pipelines.warehouse.literals import quoted
from pipelines.warehouse.published import connect_published, seal

_READS = "SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SHOW, SUMMARIZE, and EXPLAIN of them"

# DuckDB gives this kind to any statement with a PIVOT anywhere in it, even to `copy (pivot ...) to ...`.
_PIVOT = duckdb.StatementType.MULTI
_FIRST_WORDS_OF_A_PIVOT = frozenset({"pivot", "pivot_wider", "pivot_longer", "select", "from", "with"})

# A PRAGMA may change a setting or import data. These only show something.
_READING_PRAGMAS = frozenset(
    {"collations", "database_list", "database_size", "functions", "metadata_info", "platform", "show", "show_databases"}
    | {"show_tables", "show_tables_expanded", "storage_info", "table_info", "user_agent", "version"}
)


_WORD = re.compile(rb"\w+")


class QueryError(PermanentError):
    """The SQL was refused. The message is DuckDB's, or names the statement that does not read."""


def run_query(
    home: Home,
    sql: str,
    output: str,
    limit: int,
    *,
    for_spreadsheets: bool = False,
    memory_limit: str | None = None,
) -> None:
    """Print the answer of every statement. `memory_limit` is in DuckDB's form (`1GB`).

    The SQL can read the published warehouse, and nothing else. It can write nothing. Raises WarehouseMissingError,
    QueryError, or ConfigurationError for options that do not fit.
    """
    if for_spreadsheets and output != "csv":
        raise ConfigurationError("--for-spreadsheets goes with --format csv.")
    if output not in FORMATS:
        raise ConfigurationError(f"--format {output}: choose one of {', '.join(FORMATS)}.")
    try:
        with (
            TemporaryDirectory(prefix="embed-analytics-query-") as spill,
            connect_published(home) as planner,
            connect_published(home) as connection,
        ):
            seal(planner, spill=None)
            if memory_limit is not None:
                connection.execute(f"set memory_limit = {quoted(memory_limit)}")
            seal(connection, Path(spill))
            for number, statement in enumerate(_reading_statements(planner, sql)):
                if number and not output.startswith("json"):
                    sys.stdout.write("\n")
                print_answer(connection, statement.query, output, limit, for_spreadsheets=for_spreadsheets)
    except duckdb.Error as error:
        raise QueryError(str(error).strip()) from None


def _reading_statements(planner: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    """The statements, after checking that each can run. Raises QueryError if there is none, or if one does not read."""
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise QueryError("The SQL is not UTF-8 text.") from None
    statements = planner.extract_statements(sql)
    if not statements:
        raise QueryError("There is no SQL to run.")
    for statement in statements:
        # EXPLAIN ANALYZE runs the statement that it explains, so that one is checked.
        explained = _explained(planner, statement)
        if not _is_reading(explained or statement):
            words = " ".join(_first_words(statement.query)).upper()
            raise QueryError(f"`query` is read-only: it does not run `{words} ...`, but {_READS}.")
        # This only plans the statement. It would run when rows were fetched.
        planner.sql((explained or statement).query)
    return statements


def _is_reading(statement: duckdb.Statement) -> bool:
    try:
        kind = statement.type
    except ValueError:
        # DuckDB's Python package has no name for this kind.
        return False
    first, second = _first_words(statement.query)
    if kind == duckdb.StatementType.PRAGMA:
        return first == "pragma" and second in _READING_PRAGMAS
    return kind == duckdb.StatementType.SELECT or (kind == _PIVOT and first in _FIRST_WORDS_OF_A_PIVOT)


def _explained(planner: duckdb.DuckDBPyConnection, explain: duckdb.Statement) -> duckdb.Statement | None:
    """The statement within an EXPLAIN: what is left without its own words (`analyze`, `(format json)`)."""
    if _first_words(explain.query)[0] != "explain":
        return None
    text = explain.query.encode()
    for offset, _ in islice(duckdb.tokenize(explain.query), 1, None):
        try:
            (statement,) = planner.extract_statements(text[offset:].decode())
        except (duckdb.Error, ValueError):
            continue
        return statement
    return None


def _first_words(statement: str) -> list[str]:
    """The first two words in lower case, without comments and brackets. Empty texts if there are fewer."""
    # DuckDB's positions count bytes.
    text = statement.encode()
    starts = (offset for offset, kind in duckdb.tokenize(statement) if kind != duckdb.token_type.comment)
    words = (found[0].decode().lower() for start in starts if (found := _WORD.match(text, start)))
    return [next(words, ""), next(words, "")]
