"""PostgreSQL for Dagster's run history, where a setting names one. Otherwise it is SQLite below the home.

Only what Dagster itself keeps is there: runs, their events, ticks and the state of schedules. Raw, lake, state and
warehouse stay in the home.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from pydantic import SecretStr

from pipelines.errors import ConfigurationError, RunHistoryUnreachableError

VARIABLE = "EMBED_ANALYTICS_DAGSTER_DATABASE_URL"

STORAGE: dict[str, Any] = {"postgres": {"postgres_url": {"env": VARIABLE}}}
"""The `storage` of dagster.yaml. The address, with its password, is in the environment alone."""

# Dagster waits for events by LISTEN and NOTIFY through psycopg2's own interface. Without a driver in the address,
# SQLAlchemy takes psycopg 3, and every run dies at its first event.
_DRIVER = "postgresql+psycopg2"
_SPELLINGS = ("postgresql", "postgres", _DRIVER)


def database_url(given: SecretStr) -> str:
    """The address as Dagster needs it: with the driver that works. It holds the password.

    Raises ConfigurationError, which shows nothing of the address, if it is not one of a PostgreSQL database, or if the
    extra `postgres` is not installed.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(given.get_secret_value().strip())
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in _SPELLINGS or not url.database:
        raise ConfigurationError(
            f"{VARIABLE} is not the address of a PostgreSQL database: write it like "
            "postgresql://user:password@host:5432/database, signs in the password percent-encoded."
        )
    if find_spec("dagster_postgres") is None:
        raise ConfigurationError(
            f"{VARIABLE} is set, and the extra `postgres` is not installed: pip install 'embed-analytics[postgres]'."
        )
    return url.set(drivername=_DRIVER).render_as_string(hide_password=False)


@contextmanager
def unreachable_named(given: SecretStr | None) -> Generator[None]:
    """Raise RunHistoryUnreachableError where the database does not answer, or not any more."""
    if given is None:
        yield
        return
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (DagsterPostgresException, OperationalError) as error:
        failure = error if isinstance(error, OperationalError) else error.__cause__
        # The driver's own words alone: SQLAlchemy's tell of the statement and its values, too.
        reason = " ".join(str(getattr(failure, "orig", None) or failure).split())
        raise RunHistoryUnreachableError(
            f"The database that {VARIABLE} names does not answer: {reason}. It holds Dagster's run history; what had "
            "landed is kept, and the next run goes on from there."
        ) from error
