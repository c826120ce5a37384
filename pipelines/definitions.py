"""What workspace.yaml loads: the assets, the jobs that run them, and when."""

import warnings

import dagster as dg

# Partition backfills in one run are Dagster's beta feature; the notice would stand above every command.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from assets.lake import lake  # noqa: E402
from assets.raw import raw_embed_events, raw_embeds, raw_sweeps  # noqa: E402
from assets.warehouse import warehouse  # noqa: E402
from pipelines.jobs import JOBS  # noqa: E402
from pipelines.schedules import SCHEDULES  # noqa: E402
from pipelines.sensors import SENSORS  # noqa: E402
from pipelines.webhooks.sensor import WEBHOOK_SENSORS  # noqa: E402

defs = dg.Definitions(
    assets=[raw_embed_events, raw_embeds, raw_sweeps, lake, warehouse],
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=[*SENSORS, *WEBHOOK_SENSORS],
    # The steps wait for each other and for the home's lock: a process for each would only cost its start.
    executor=dg.in_process_executor,
)
