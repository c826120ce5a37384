"""Dagster asset and check declarations, thin over the pure functions in `pipelines`."""
