"""Running a Dagster job in this process: what the command line does, recorded in the home's run history."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipelines.errors import EmbedAnalyticsError, PermanentError
from pipelines.home import Home
from pipelines.ownership import unwritable

if TYPE_CHECKING:
    import dagster as dg

# In a checkout it stands at the root; the wheel carries it inside the package.
DAGSTER_YAML = next(
    path
    for path in (Path(__file__).with_name("dagster.yaml"), Path(__file__).parents[1] / "dagster.yaml")
    if path.exists()
)


class RunFailedError(PermanentError):
    """A run ended red; the text is the failure's."""


def prepare_instance(home: Home) -> Path:
    """The Dagster instance's folder of a home, with the project's dagster.yaml in it.

    Raises ConfigurationError when the home cannot be written to.
    """
    try:
        home.dagster.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DAGSTER_YAML, home.dagster / "dagster.yaml")
    except OSError as error:
        raise unwritable(home, error) from error
    return home.dagster


@contextmanager
def open_instance(home: Home) -> Generator[dg.DagsterInstance]:
    """The Dagster instance of a home."""
    import dagster as dg

    # dagster.yaml reads the folder from there, and batches are off unless the environment gives them a size.
    os.environ.update(instance_environment(home))
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        yield instance


def instance_environment(home: Home) -> dict[str, str]:
    """Environment variables that Dagster's processes need to find the home's instance, which is prepared."""
    return {"DAGSTER_HOME": str(prepare_instance(home)), "DAGSTER_EVENT_BATCH_SIZE": "1000"}


@dataclass(frozen=True)
class RunSummary:
    """What a successful run left: each asset's metadata by its key (`raw/embed_events`), and the warnings."""

    metadata: dict[str, dict[str, Any]]
    warnings: list[str]


def run_job(home: Home, job: str, config: dict[str, Any], tags: dict[str, str]) -> RunSummary:
    """Run a job to its end. Raises RunFailedError with the text of the failure that ended it."""
    from pipelines.definitions import defs
    from pipelines.instance import terminal_runs

    run_id = str(uuid4())
    with _quiet_logs(), open_instance(home) as instance, terminal_runs.alive(instance, run_id):
        terminal_runs.fail_dead_runs(instance)
        result = defs.resolve_job_def(job).execute_in_process(
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**tags, terminal_runs.TERMINAL_TAG: "yes"},
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
        )
    if not result.success:
        raise _failure(result)
    return RunSummary(
        {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key
        },
        [
            f"{check.asset_key.path[-1]}: {check.check_name} ({check.metadata['failing_rows'].value} rows)"
            for check in result.get_asset_check_evaluations()
            if not check.passed
        ],
    )


def _failure(result: dg.ExecuteInProcessResult) -> EmbedAnalyticsError:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return RunFailedError(data.user_failure_data.description)
            if data.error:
                return RunFailedError(data.error.to_string())
    return RunFailedError("The run ended without success and without an error of a step.")


@contextmanager
def _quiet_logs() -> Generator[None]:
    logger = logging.getLogger("dagster")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
