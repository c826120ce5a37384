"""Our own parts of a home's Dagster instance. dagster.yaml names these classes."""
