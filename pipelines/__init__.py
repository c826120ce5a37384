"""Batch ETL of OneSchema embed events: poll, flatten, model, publish.

`assets/` declares what Dagster shows; everything that does the work is here.
"""
