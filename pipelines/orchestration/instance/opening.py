"""Opens the Dagster instance of a home, with the project's dagster.yaml in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home, unwritable
from pipelines.home.packaged import project_file
from pipelines.orchestration.instance.damaged import set_damaged_aside
from pipelines.orchestration.instance.database import STORAGE, VARIABLE, database_url, unreachable_named
from pipelines.orchestration.progress import line_sink

if TYPE_CHECKING:
    import dagster as dg
    from pydantic import SecretStr

_LOG = logging.getLogger(__name__)


def prepare_instance(home: Home, say: Callable[[str], None], storage: dict[str, Any] | None = None) -> Path:
    """The Dagster instance's folder of a home, with the project's dagster.yaml in it and no damaged database.

    `say` gets a line for each database that was set aside. `storage` is another one than the project's. Raises
    ConfigurationError when the home cannot be written to, or when another process has a damaged database open.
    """
    try:
        open_home(home)
        home.dagster.mkdir(exist_ok=True)
        write_text(_configuration(storage), home.dagster / "dagster.yaml")
    except OSError as error:
        raise unwritable(home, error) from error
    set_damaged_aside(home.dagster, say)
    return home.dagster


def _configuration(storage: dict[str, Any] | None) -> str:
    """The text of dagster.yaml."""
    text = project_file("dagster.yaml").read_text(encoding="utf-8")
    if storage is None:
        return text
    import yaml

    return yaml.safe_dump({**yaml.safe_load(text), "storage": storage}, sort_keys=False)


@contextmanager
def open_instance(home: Home, database: SecretStr | None = None) -> Generator[dg.DagsterInstance]:
    """The Dagster instance of a home. Its run history is in `database`, or in the home.

    Raises RunHistoryUnreachableError when the database does not answer, or not any more.
    """
    import dagster as dg

    # dagster.yaml reads the folder from the environment, and batches are off unless the environment gives their size.
    os.environ.update(instance_environment(home, line_sink(_LOG.info), database))
    with unreachable_named(database), dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        yield instance


def make_databases(home: Home, database: SecretStr | None = None) -> None:
    """Make the tables of the run history of a home, which is prepared, where there are none.

    Of services that begin together on a new home, one makes them. Dagster lets each try, and all but one fail. Raises
    RunHistoryUnreachableError.
    """
    with FileLock(home.dagster / "making.lock"):
        # PostgreSQL has to be asked whether they are there.
        if database is not None or not any(home.dagster.rglob("*.db")):
            with open_instance(home, database):
                pass


def instance_environment(home: Home, say: Callable[[str], None], database: SecretStr | None = None) -> dict[str, str]:
    """The environment variables with which Dagster's processes find the home's instance, which is prepared."""
    address = {} if database is None else {VARIABLE: database_url(database)}
    folder = prepare_instance(home, say, STORAGE if address else None)
    return {"DAGSTER_HOME": str(folder), "DAGSTER_EVENT_BATCH_SIZE": "1000", **address}
