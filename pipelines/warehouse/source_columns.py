"""The relations of schema `source`, by name, with their columns. `sources.py` makes them."""

from dataclasses import fields
from functools import cache

from pipelines.oneschema.vocabulary import EmbedStatus, FunnelStep
from pipelines.warehouse.parameters import PARAMETER_NAMES


@cache
def source_columns() -> dict[str, list[str]]:
    """The columns of every relation of schema `source`, without the claim columns, which differ from home to home."""
    from pipelines.flatten import lake_tables as lake
    from pipelines.raw import raw_tables as raw
    from pipelines.raw.webhook_gaps import RAW_WEBHOOK_GAPS
    from pipelines.warehouse.claim_settings import CLAIM_PATTERNS
    from pipelines.warehouse.sources import BuildFacts

    tables = (
        *(lake.LAKE_EMBED_EVENTS, lake.LAKE_VALIDATION_ERRORS, lake.QUARANTINE, lake.LAKE_DAYS, lake.CLAIMS_CATALOGUE),
        *(raw.RAW_EMBEDS, raw.RAW_SWEEPS, RAW_WEBHOOK_GAPS),
    )
    columns: dict[str, list[str]] = {table.name: table.names for table in tables}
    for name in ("embed_events", "validation_errors"):
        columns[name] = [*columns[name], "lake_partition"]
    return columns | {
        "parameters": sorted(PARAMETER_NAMES),
        "build": [field.name for field in fields(BuildFacts)],
        "table_rows": ["table_name", "row_count"],
        "raw_deliveries": ["lake_partition", "delivery_count"],
        "damaged_raw_files": ["lake_partition", "path", "reason"],
        "home": ["path", "mode", "is_open_to_others"],
        "claim_patterns": list(CLAIM_PATTERNS),
        "event_types": ["event_type", "description"],
        "trigger_types": ["trigger_type"],
        "funnel_steps": list(FunnelStep._fields),
        "embed_statuses": list(EmbedStatus._fields),
    }
