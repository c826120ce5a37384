"""What is wrong with a file in sql/, in one line that names it."""

import re
from collections.abc import Generator
from contextlib import contextmanager

import duckdb
from sqlglot.errors import SqlglotError

from pipelines.errors import PermanentError

# What DuckDB raises for SQL that cannot be run, and for rows that it cannot take. Its other errors are not the file's.
_OF_THE_SQL = (duckdb.ProgrammingError, duckdb.NotSupportedError, duckdb.DataError, duckdb.IntegrityError)

_PLACE = re.compile(r"^LINE (\d+): ", re.MULTILINE)


class ModelError(PermanentError):
    """A file in sql/ does not keep to its form, or cannot be run; the text names the file."""


class ModelFailedError(ModelError):
    """DuckDB did not run a file in sql/. The text may repeat a value of the rows."""


@contextmanager
def blamed_on(file: str, *, lines_before: int | None = 1) -> Generator[None]:
    """Raise what the SQL of `file` (`sql/fct_embeds.sql`) has wrong as ModelError, ModelFailedError if it was run.

    `lines_before`: lines of the builder's own that the statement begins with; None where its lines are not the file's.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise ModelError(f"{file} is not UTF-8: save it as that.") from None
    except SqlglotError as error:
        raise ModelError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    except _OF_THE_SQL as error:
        told, *_ = (text := str(error)).split("\n\nLINE ")
        place = _PLACE.search(text)
        where = "" if place is None or lines_before is None else f", line {int(place[1]) - lines_before}"
        raise ModelFailedError(f"{file}{where}: {' '.join(told.split())}") from error
