"""What all assets have in common: how fresh they should be, and how they are told apart."""

from datetime import timedelta

import dagster as dg

from pipelines.settings import Settings
from pipelines.warehouse.freshness import late_after


def freshness_of(settings: Settings) -> dg.FreshnessPolicy:
    """What is late is worth a look, what is late by a day is a fault."""
    late = late_after(settings)
    return dg.FreshnessPolicy.time_window(fail_window=late + timedelta(days=1), warn_window=late)


def tags_of(layer: str, **more: str) -> dict[str, str]:
    """The tags of a layer's asset, for searching in Dagster."""
    return {"layer": layer, "source": "oneschema", **more}
