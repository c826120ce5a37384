"""What all assets have in common: how fresh they should be, and how they are told apart."""

from datetime import timedelta

import dagster as dg

# Refreshed once an hour: two missed refreshes are worth a look, a missed day is a fault.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=3))


def tags_of(layer: str, **more: str) -> dict[str, str]:
    """Tags of an asset of a layer, to search for in Dagster."""
    return {"layer": layer, "source": "oneschema", **more}
