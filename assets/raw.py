"""The raw layer: what the vendor said, polled into Parquet."""

from typing import Literal

import dagster as dg

from assets.partitions import DAILY, ONE_RUN, clear_failures, column_schema, partitions_beside
from pipelines import steps
from pipelines.progress import progress_sink
from pipelines.raw.schema import RAW_EMBED_EVENTS, RAW_EMBEDS, RAW_SWEEPS
from pipelines.settings import load_settings

EMBED_EVENTS = dg.AssetKey(["raw", "embed_events"])
EMBEDS = dg.AssetKey(["raw", "embeds"])
SWEEPS = dg.AssetKey(["raw", "sweeps"])

# A check and a run's metadata name this many failed embeds; raw/sweeps has them all.
SHOWN_FAILURES = 20


class SweepConfig(dg.Config):
    """How to ask: `backfill` asks every embed that may have events in the partitions (what launching partitions in the
    UI does), `refresh` those that are due, `reconcile` every embed there is."""

    kind: Literal["backfill", "refresh", "reconcile"] = "backfill"


@dg.asset(
    key=EMBED_EVENTS,
    group_name="raw",
    kinds={"python", "parquet"},
    description=f"{RAW_EMBED_EVENTS.description} Append-only: what the vendor deletes stays here.",
    metadata={"dagster/column_schema": column_schema(RAW_EMBED_EVENTS)},
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
)
def raw_embed_events(context: dg.AssetExecutionContext, config: SweepConfig) -> dg.MaterializeResult:
    from datetime import date

    from pipelines.poll.sweep import SweepRequest
    from pipelines.raw.landing import raw_row_counts

    settings = load_settings()
    keys = context.partition_key_range
    request = SweepRequest(config.kind, date.fromisoformat(keys.start), date.fromisoformat(keys.end))
    with clear_failures():
        report = steps.sweep(
            settings,
            request if config.kind == "backfill" else SweepRequest(config.kind),
            on_wait=context.log.info,
            on_progress=progress_sink(context.log.info),
        )
    beside = partitions_beside(context, set(report.landed_by_date))
    row_counts = raw_row_counts(settings.home, [*context.partition_keys, *beside])
    metadata = {
        key: {"dagster/partition_row_count": count, "landed_event_count": report.landed_by_date.get(key, 0)}
        for key, count in row_counts.items()
    }
    for key in context.partition_keys:
        context.add_asset_metadata(metadata[key], partition_key=key)
    for key in beside:
        context.log_event(dg.AssetMaterialization(EMBED_EVENTS, partition=key, metadata=metadata[key]))
    context.log_event(dg.AssetMaterialization(EMBEDS, metadata={"listed_count": report.listing.listed_count}))
    context.log_event(dg.AssetMaterialization(SWEEPS, metadata={"sweep_id": report.sweep_id}))
    shown = [f"embed {failure.embed_id}: {failure.error}" for failure in report.failures[:SHOWN_FAILURES]]
    return dg.MaterializeResult(
        metadata={
            "sweep_id": report.sweep_id,
            "is_resumed": report.is_resumed,
            "listed_embeds": report.listing.listed_count,
            "new_embeds": report.listing.new_embed_count,
            "due_embeds": report.due_count,
            "fetched_embeds": report.fetched_count,
            "gone_embeds": report.gone_count,
            "failed_embeds": len(report.failures),
            "failures": dg.MetadataValue.md("\n".join(f"- {line}" for line in shown) or "none"),
            "delivered_events": report.delivered_event_count,
            "landed_events": report.landed_event_count,
            "requests": report.request_count,
        }
    )


# Written by the sweep of raw/embed_events, which reports them too.
raw_embeds = dg.AssetSpec(
    EMBEDS,
    group_name="raw",
    kinds={"parquet"},
    description=f"{RAW_EMBEDS.description} Written by the sweep of raw/embed_events.",
    metadata={"dagster/column_schema": column_schema(RAW_EMBEDS)},
)
raw_sweeps = dg.AssetSpec(
    SWEEPS,
    group_name="raw",
    kinds={"parquet"},
    description=f"{RAW_SWEEPS.description} Written by the sweep of raw/embed_events.",
    metadata={"dagster/column_schema": column_schema(RAW_SWEEPS)},
)
