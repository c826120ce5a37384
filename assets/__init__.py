"""Dagster asset and check declarations: a thin layer over the pure functions in `pipelines`."""
