"""`make dev`: Dagster's own UI and daemon on this home."""

import os
import sys
from typing import NoReturn

from pipelines.home.packaged import project_file
from pipelines.orchestration.instance.opening import instance_environment
from pipelines.settings import dotenv_variables, load_settings


def run_dagster_dev(host: str, port: int) -> NoReturn:
    """Become `dagster dev`, so that what stops this process stops it, with the instance below EMBED_ANALYTICS_HOME."""
    environment = dev_environment(host, port)
    # Away from `.env`: Dagster would put its values, empty ones too, over those of the environment.
    os.chdir(environment["DAGSTER_HOME"])
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(project_file("workspace.yaml")),
        "-h",
        host,
        "-p",
        str(port),
    ]
    os.execve(sys.executable, command, environment)


def dev_environment(host: str, port: int) -> dict[str, str]:
    """Environment variables of `dagster dev` and of its runs, with the settings that `.env` has."""
    settings = load_settings()
    environment = {**os.environ, **dotenv_variables(), **instance_environment(settings.home)}
    environment["EMBED_ANALYTICS_HOME"] = str(settings.home.root)
    if not environment.get("EMBED_ANALYTICS_DAGSTER_URL"):
        environment["EMBED_ANALYTICS_DAGSTER_URL"] = f"http://{host}:{port}"
    return environment
