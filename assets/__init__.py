"""Dagster asset and check declarations, thin over the pure functions in `pipelines`."""

import warnings

from dagster import BetaWarning

# Backfills in one run, freshness policies and code references are Dagster's beta features; the notices would stand
# above every command.
warnings.filterwarnings("ignore", category=BetaWarning)
