"""The raw layer: what the vendor said, polled into Parquet."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from assets.failures import RETRY, clear_failures
from assets.metadata import MaterializeResult, file_table
from assets.partitions import ONE_RUN, partitions_beside
from assets.run_end import can_be_put_off, end_run, put_off
from assets.upkeep import freshness_of, tags_of
from pipelines import steps
from pipelines.errors import EmbedAnalyticsError
from pipelines.home.layout import Home
from pipelines.orchestration.file_tables import file_tables
from pipelines.orchestration.progress import line_sink, progress_sink
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.poll.report import SweepKind, SweepReport

EMBED_EVENTS = dg.AssetKey(["raw", "embed_events"])
EMBEDS = dg.AssetKey(["raw", "embeds"])
SWEEPS = dg.AssetKey(["raw", "sweeps"])

# A run's metadata names at most this many failed embeds; raw/sweeps has them all.
SHOWN_FAILURES = 20

PIPELINES = Path(steps.__file__).parent
CODE = (
    ("the asset", Path(__file__)),
    ("the sweep", PIPELINES / "poll" / "sweep.py"),
    ("the columns", PIPELINES / "raw" / "raw_tables.py"),
)


class SweepConfig(dg.Config):
    """What to ask. `backfill` asks every embed that may have events in the partitions, as launching partitions in the
    UI does. `refresh` asks those that are due, `reconcile` every embed. `webhooks` asks nothing, and takes in what
    webhooks brought."""

    kind: Literal["backfill", "refresh", "reconcile", "webhooks"] = "backfill"


def build_raw(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> tuple[dg.AssetsDefinition, dg.AssetSpec, dg.AssetSpec]:
    """The asset raw/embed_events, which sweeps, and the two tables that the sweep writes beside it."""
    table = file_tables()[EMBED_EVENTS.to_user_string()]

    @dg.asset(
        key=EMBED_EVENTS,
        group_name="raw",
        kinds={"python", "parquet"},
        description=f"{table.description} Append-only: what the vendor deletes stays here.",
        metadata=file_table(table, *CODE),
        owners=[settings.embed_analytics_owner],
        tags=tags_of("raw"),
        freshness_policy=freshness_of(settings),
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
        retry_policy=RETRY,
    )
    def raw_embed_events(context: dg.AssetExecutionContext, config: SweepConfig) -> Iterator[MaterializeResult]:
        with clear_failures(context):
            if config.kind == "webhooks":
                received = steps.receive(settings, on_wait=line_sink(context.log.info))
                landed_by_date, metadata = received.landed_by_date, {"webhook_events": received.landed_event_count}
            else:
                report, failure = _sweep(context, settings, config.kind)
                landed_by_date, metadata = report.landed_by_date, {**_report_metadata(report), **failure}
        _record(context, settings.home, landed_by_date, partitions_beside(context, landed_by_date))
        yield MaterializeResult(metadata=metadata)
        end_run(context, settings.home)

    return (
        raw_embed_events,
        _written_beside(EMBEDS, settings),
        _written_beside(SWEEPS, settings),
    )


def _sweep(
    context: dg.AssetExecutionContext, settings: Settings, kind: "SweepKind"
) -> tuple["SweepReport", dict[str, Any]]:
    """The report of a sweep, and the metadata of its failure if that was put off."""
    from pipelines.poll.report import SweepRequest

    keys = context.partition_key_range
    request = SweepRequest(kind)
    if kind == "backfill":
        request = SweepRequest(kind, date.fromisoformat(keys.start), date.fromisoformat(keys.end))
    broken_off: list[SweepReport] = []
    try:
        report = steps.sweep(
            settings,
            request,
            on_wait=line_sink(context.log.info),
            on_progress=progress_sink(
                context.log.info,
                lambda progress: context.log_event(dg.AssetObservation(EMBED_EVENTS, metadata=progress.metadata)),
            ),
            on_broken_off=broken_off.append,
        )
    except EmbedAnalyticsError as error:
        if not broken_off or not can_be_put_off(context, error):
            raise
        return broken_off[0], put_off(context, error)
    return report, {}


def _record(
    context: dg.AssetExecutionContext, home: Home, landed_by_date: Mapping[str, int], beside: list[str]
) -> None:
    """Tell Dagster about the run's partitions, about others that got events, and about the other two tables."""
    from pipelines.orchestration.instance.dagster_internals import add_partition_metadata
    from pipelines.orchestration.presentation import file_row_count
    from pipelines.raw.landing import raw_row_counts

    row_counts = raw_row_counts(home, [*context.partition_keys, *beside])
    metadata = {
        key: {"dagster/partition_row_count": count, "landed_event_count": landed_by_date.get(key, 0)}
        for key, count in row_counts.items()
    }
    add_partition_metadata(context, EMBED_EVENTS, {key: metadata[key] for key in context.partition_keys})
    for key in beside:
        context.log_event(dg.AssetMaterialization(EMBED_EVENTS, partition=key, metadata=metadata[key]))
    for key, folder in ((EMBEDS, home.raw_embeds), (SWEEPS, home.raw_sweeps)):
        context.log_event(dg.AssetMaterialization(key, metadata={"dagster/row_count": file_row_count(folder)}))


def _report_metadata(report: "SweepReport") -> dict[str, Any]:
    shown = [
        failure.error if failure.embed_id is None else f"embed {failure.embed_id}: {failure.error}"
        for failure in report.failures[:SHOWN_FAILURES]
    ]
    return {
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
        "webhook_events": report.webhook_event_count,
        "requests": report.request_count,
    }


def _written_beside(key: dg.AssetKey, settings: Settings) -> dg.AssetSpec:
    table = file_tables()[key.to_user_string()]
    return dg.AssetSpec(
        key,
        group_name="raw",
        kinds={"parquet"},
        description=f"{table.description} Written by the sweep of raw/embed_events.",
        metadata=file_table(table, *CODE),
        owners=[settings.embed_analytics_owner],
        tags=tags_of("raw"),
        freshness_policy=freshness_of(settings),
    )
