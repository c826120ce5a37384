"""What a run did, in one line: the command line prints it, and a run's log in Dagster ends with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.home.layout import Home

if TYPE_CHECKING:
    import dagster as dg

RAW, LAKE, PUBLISHED = "raw/embed_events", "lake/embed_events", "warehouse/meta_build"

PAGE_CHECK = "page_written"


@dataclass(frozen=True)
class RunSummary:
    """What a run did: the metadata of what it materialised, by asset (`raw/embed_events`), and what its checks warn of.

    `page`: what became of the page; None where the run does not write it.
    """

    metadata: Mapping[str, Mapping[str, Any]]
    warnings: list[str]
    page: str | None = None

    @property
    def has_published(self) -> bool:
        return PUBLISHED in self.metadata

    @classmethod
    def of(
        cls, materialized: Mapping[str, dg.AssetMaterialization], checks: Sequence[dg.AssetCheckEvaluation]
    ) -> RunSummary:
        """The summary of a run, from the last materialisation of each of its assets and its checks' results."""
        metadata = {
            key: {name: value.value for name, value in event.metadata.items()} for key, event in materialized.items()
        }
        warnings = [
            f"{check.asset_key.path[-1]}: {check.check_name}: {check.metadata['finding'].value}"
            for check in checks
            if not check.passed
        ]
        pages = [
            str(check.metadata["finding"].value) if check.passed else "page not written"
            for check in checks
            if check.check_name == PAGE_CHECK
        ]
        return cls(metadata, warnings, pages[0] if pages else None)


def read_summary(instance: dg.DagsterInstance, run_id: str) -> RunSummary:
    """The summary of a run, from its event log."""
    import dagster as dg

    found = {key: _materialized(instance, run_id, key) for key in (RAW, LAKE, PUBLISHED)}
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    checks = [record.event_log_entry.get_dagster_event().asset_check_evaluation_data for record in records]
    return RunSummary.of({key: event for key, event in found.items() if event is not None}, checks)


def _materialized(instance: dg.DagsterInstance, run_id: str, key: str) -> dg.AssetMaterialization | None:
    """The run's last materialisation of an asset."""
    import dagster as dg

    asset_key = dg.AssetKey.from_user_string(key)
    latest = instance.get_latest_materialization_event(asset_key)
    if latest is not None and latest.run_id == run_id:
        return latest.asset_materialization
    # The run did not make it, or another run has made it since.
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    events = (record.event_log_entry.asset_materialization for record in reversed(records))
    return next((event for event in events if event is not None and event.asset_key == asset_key), None)


def summary_lines(summary: RunSummary, home: Home) -> list[str]:
    """The warnings, a line each, and last what the run did."""
    return [*(f"warning: {warning}" for warning in summary.warnings), summary_line(summary, home)]


def summary_line(summary: RunSummary, home: Home) -> str:
    """What the run asked, landed, flattened and published, and how many warnings there are."""
    parts: list[str] = []
    if (sweep := summary.metadata.get(RAW)) is not None:
        parts += _swept(sweep)
    if (flat := summary.metadata.get(LAKE)) is not None:
        parts.append(f"flattened {flat['flattened_days']} days")
    if summary.has_published:
        parts.append(f"published {home.warehouse}")
    if summary.page is not None:
        parts.append(summary.page)
    count = len(summary.warnings)
    parts.append(f"{count} warning{'' if count == 1 else 's'}" if count else "no warnings")
    return ", ".join(parts)


def _swept(sweep: Mapping[str, Any]) -> list[str]:
    if "sweep_id" not in sweep:
        return [f"took in {sweep['webhook_events']} new events by webhook"]
    by_webhook = f" and {sweep['webhook_events']} by webhook" if sweep["webhook_events"] else ""
    return [
        f"asked {sweep['due_embeds']} of {sweep['listed_embeds']} listed embeds in {sweep['requests']} requests "
        f"({sweep['failed_embeds']} failed, {sweep['gone_embeds']} gone)",
        f"landed {sweep['landed_events']} new events{by_webhook}",
    ]
