"""What the Dagster instance of a home is made of, beside Dagster's own parts. dagster.yaml names these classes."""
