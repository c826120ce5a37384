"""The definitions: the assets, the jobs that run them, and when. workspace.yaml loads `defs` from here.

Only the composition belongs here. What an asset does is in `assets`; what runs, and when, is in `orchestration`.
Importing this module reads no settings. `defs` is built from the environment's settings on first access.
"""

import warnings
from typing import TYPE_CHECKING

import dagster as dg

from assets.lake import build_lake
from assets.partitions import daily_partitions
from assets.raw import build_raw
from assets.report import build_report
from assets.warehouse import build_warehouse
from pipelines.orchestration.digest_job import build_digest_jobs, build_digest_schedules
from pipelines.orchestration.jobs import ASSET_JOBS, build_prune_job
from pipelines.orchestration.schedules import build_schedules
from pipelines.orchestration.sensors import build_sensors
from pipelines.orchestration.webhook_sensor import build_webhook_sensors
from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    defs: dg.Definitions


def build_definitions(settings: Settings) -> dg.Definitions:
    """Everything that Dagster knows about this project, for one home and its settings.

    Every run uses these settings, whatever the environment says by then. So one process can hold several sets of
    definitions. Raises ConfigurationError for a setting that Dagster cannot use.
    """
    with warnings.catch_warnings():
        # Freshness policies and code references are in beta. Their notices would be printed above every command.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _definitions(settings)


def _definitions(settings: Settings) -> dg.Definitions:
    partitions = daily_partitions(settings)
    warehouse, report = build_warehouse(settings), build_report(settings)
    return dg.Definitions(
        assets=[*build_raw(settings, partitions), build_lake(settings, partitions), warehouse, report],
        jobs=[
            *ASSET_JOBS,
            build_prune_job(settings, [*warehouse.check_keys, *report.check_keys]),
            *build_digest_jobs(settings),
        ],
        schedules=[*build_schedules(settings), *build_digest_schedules(settings)],
        sensors=[*build_sensors(settings), *build_webhook_sensors(settings)],
        # The steps wait for each other and for the home's lock, so a process for each would only add its start-up.
        executor=dg.in_process_executor,
    )


def __getattr__(name: str) -> object:
    if name != "defs":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["defs"] = build_definitions(load_settings())
    return made


def __dir__() -> list[str]:
    # Dagster looks for definitions among the module's names.
    return sorted({*globals(), "defs"})
