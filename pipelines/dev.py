"""`make dev`: Dagster's own UI and daemon on this home."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from pipelines.runs import instance_environment
from pipelines.settings import load_settings

WORKSPACE = next(
    path
    for path in (Path(__file__).with_name("workspace.yaml"), Path(__file__).parents[1] / "workspace.yaml")
    if path.exists()
)


def run_dagster_dev(host: str, port: int) -> NoReturn:
    """Become `dagster dev`, so that what stops this process stops it, with the instance below EMBED_ANALYTICS_HOME."""
    settings = load_settings()
    environment = {
        "EMBED_ANALYTICS_DAGSTER_URL": f"http://{host}:{port}",
        **os.environ,
        **instance_environment(settings.home),
        # Runs are started in other folders: a relative home must stay the same one.
        "EMBED_ANALYTICS_HOME": str(settings.home.root),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE), "-h", host, "-p", str(port)]
    os.execve(sys.executable, command, environment)
