"""Says what is wrong with a file in sql/, in one line that names the file."""

import re
from collections.abc import Generator
from contextlib import contextmanager

from pipelines.errors import PermanentError

_PLACE = re.compile(r"^LINE (\d+): ", re.MULTILINE)


class ModelError(PermanentError):
    """A file in sql/ does not have the required form, or cannot be run. The message names the file."""


class ModelFailedError(ModelError):
    """DuckDB could not run a file in sql/. The message may repeat a value from the rows."""


class ContinuationError(ModelFailedError):
    """The published build could not be brought up to date. A build from nothing may work: it reads nothing of it."""


@contextmanager
def blamed_on(file: str, *, lines_before: int | None = 1) -> Generator[None]:
    """Turn an error in the SQL of `file` (`sql/fct_embeds.sql`) into a ModelError, or a ModelFailedError if it ran.

    `lines_before` is how many lines the builder put before the file's text. None: line numbers do not match the file's.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise ModelError(f"{file} is not UTF-8: save it as UTF-8.") from None
    except _of_the_parser() as error:
        raise ModelError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    except _of_the_sql() as error:
        told, *_ = (text := str(error)).split("\n\nLINE ")
        place = _PLACE.search(text)
        where = "" if place is None or lines_before is None else f", line {int(place[1]) - lines_before}"
        raise ModelFailedError(f"{file}{where}: {' '.join(told.split())}") from error


# Imported only once something was raised: most who load the models neither parse SQL nor run it.


def _of_the_parser() -> type[Exception]:
    from sqlglot.errors import SqlglotError

    return SqlglotError


def _of_the_sql() -> tuple[type[Exception], ...]:
    """What DuckDB raises for SQL that cannot run, and for rows that it cannot take. Others are not the file's fault."""
    import duckdb

    return duckdb.ProgrammingError, duckdb.NotSupportedError, duckdb.DataError, duckdb.IntegrityError
