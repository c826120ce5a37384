"""What workspace.yaml loads: the assets, the jobs that run them, and when."""

import dagster as dg

from assets.lake import lake
from assets.raw import raw_embed_events, raw_embeds, raw_sweeps
from assets.warehouse import warehouse
from pipelines.orchestration.jobs import JOBS
from pipelines.orchestration.schedules import SCHEDULES
from pipelines.orchestration.sensors import SENSORS
from pipelines.orchestration.webhook_sensor import WEBHOOK_SENSORS

defs = dg.Definitions(
    assets=[raw_embed_events, raw_embeds, raw_sweeps, lake, warehouse],
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=[*SENSORS, *WEBHOOK_SENSORS],
    # The steps wait for each other and for the home's lock: a process for each would only cost its start.
    executor=dg.in_process_executor,
)
