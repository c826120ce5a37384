"""Opens the Dagster instance of a home, with the project's dagster.yaml in it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.home.layout import Home
from pipelines.home.ownership import open_home, unwritable
from pipelines.home.packaged import project_file
from pipelines.orchestration.instance.damaged import set_damaged_aside
from pipelines.orchestration.progress import line_sink

if TYPE_CHECKING:
    import dagster as dg

_LOG = logging.getLogger(__name__)


def prepare_instance(home: Home, say: Callable[[str], None]) -> Path:
    """The Dagster instance's folder of a home, with the project's dagster.yaml in it and no damaged database.

    `say` gets a line for each database that was set aside. Raises ConfigurationError when the home cannot be written
    to, or when another process has a damaged database open.
    """
    try:
        open_home(home)
        home.dagster.mkdir(exist_ok=True)
        shutil.copyfile(project_file("dagster.yaml"), home.dagster / "dagster.yaml")
    except OSError as error:
        raise unwritable(home, error) from error
    set_damaged_aside(home.dagster, say)
    return home.dagster


@contextmanager
def open_instance(home: Home) -> Generator[dg.DagsterInstance]:
    """The Dagster instance of a home."""
    import dagster as dg

    # dagster.yaml reads the folder from the environment, and batches are off unless the environment gives their size.
    os.environ.update(instance_environment(home, line_sink(_LOG.info)))
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        yield instance


def instance_environment(home: Home, say: Callable[[str], None]) -> dict[str, str]:
    """The environment variables with which Dagster's processes find the home's instance. It must be prepared."""
    return {"DAGSTER_HOME": str(prepare_instance(home, say)), "DAGSTER_EVENT_BATCH_SIZE": "1000"}
