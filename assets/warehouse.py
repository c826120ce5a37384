"""The warehouse: every model of sql/, built, checked and published as one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import lake, raw
from assets.failures import clear_failures
from assets.metadata import MaterializeResult, model_definition, model_lineage, model_schema
from assets.run_end import end_run
from assets.upkeep import freshness_of, tags_of
from pipelines import steps
from pipelines.home.layout import Home
from pipelines.orchestration.jobs import WAREHOUSE_STEP
from pipelines.orchestration.progress import line_sink
from pipelines.settings import Settings
from pipelines.warehouse.checks import load_checks, require_acknowledgeable
from pipelines.warehouse.models import load_models
from pipelines.warehouse.parameters import Parameters
from pipelines.warehouse.versions import versions_of

if TYPE_CHECKING:
    from pipelines.warehouse.build_report import BuildReport
    from pipelines.warehouse.run_checks import CheckResult

WAREHOUSE = dg.AssetKey(["warehouse"])

# The asset behind each relation of schema `source`. The other relations (parameters, build, ...) are facts of a build.
SOURCES = {
    "embed_events": lake.EMBED_EVENTS,
    "validation_errors": lake.VALIDATION_ERRORS,
    "quarantine": lake.EMBED_EVENTS,
    "days": lake.EMBED_EVENTS,
    "claims": lake.EMBED_EVENTS,
    "embeds": raw.EMBEDS,
    "sweeps": raw.SWEEPS,
    "webhook_gaps": raw.EMBED_EVENTS,
}

# Those whose asset has the relation's column names.
TABLES = {name: SOURCES[name] for name in ("embed_events", "validation_errors", "embeds", "sweeps")}

CODE = (("the asset", Path(__file__)), ("the build", Path(steps.__file__).parent / "warehouse" / "build.py"))

SEVERITIES = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}


def model_key(name: str) -> dg.AssetKey:
    return dg.AssetKey([*WAREHOUSE.path, name])


class BuildConfig(dg.Config):
    """How to build. `full_refresh` builds from nothing. `check_everything` checks all rows, not only changed ones."""

    full_refresh: bool = False
    check_everything: bool = False


def build_warehouse(settings: Settings) -> dg.AssetsDefinition:
    """Every table of the warehouse and its checks, made by one step."""
    require_acknowledgeable(settings.embed_analytics_acknowledged, load_checks())

    @dg.multi_asset(name=WAREHOUSE_STEP, specs=list(_specs(settings)), check_specs=list(_check_specs()))
    def warehouse(
        context: dg.AssetExecutionContext, config: BuildConfig
    ) -> Iterator[MaterializeResult | dg.AssetCheckResult]:
        """Builds, checks and publishes every table. They share one file, so no run makes only some of them."""
        from pipelines.warehouse.build_report import BuildCheckFailedError

        with clear_failures(context):
            try:
                report = steps.publish(
                    settings,
                    on_wait=line_sink(context.log.info),
                    full_refresh=config.full_refresh,
                    check_everything=config.check_everything,
                )
            except BuildCheckFailedError as error:
                # The run fails and names them. Nothing was published.
                yield from _check_results(error.report.checks)
                raise
        yield from _materializations(settings.home, report)
        yield from _check_results(report.checks)
        end_run(context, settings.home)

    return warehouse


def _specs(settings: Settings) -> Iterator[dg.AssetSpec]:
    # Versions cover the SQL and the settings that it uses, so the UI shows as stale what the next build makes again.
    versions = versions_of(load_models(), Parameters.from_settings(settings))
    for model in load_models():
        deps = {
            *(model_key(name) for name in model.depends_on),
            *(SOURCES[name] for name in model.sources if name in SOURCES),
        }
        yield dg.AssetSpec(
            model_key(model.name),
            deps=sorted(deps),
            group_name="warehouse",
            # A badge that all tables have says nothing, and the catalog cuts names to make room for it.
            kinds={"view"} if model.kind.is_view else set(),
            description=f"{model.description}\n\n```sql\n{model.statement}\n```",
            metadata=model_definition(model, *CODE),
            owners=[settings.embed_analytics_owner],
            tags=tags_of("warehouse", refresh=model.refresh),
            code_version=versions[model.name],
            freshness_policy=freshness_of(settings),
        )


def _check_specs() -> Iterator[dg.AssetCheckSpec]:
    for check in load_checks():
        yield dg.AssetCheckSpec(
            check.name,
            asset=model_key(check.table),
            description=check.description,
            blocking=check.severity == "error",
            metadata={"severity": check.severity},
        )


def _materializations(home: Home, report: "BuildReport") -> Iterator[MaterializeResult]:
    from pipelines.orchestration.presentation import published_tables

    published = published_tables(home)
    # Dagster insists on the order of dependencies, in which load_models gives them.
    for model in load_models():
        table = published[model.name]
        metadata: dict[str, Any] = {
            # A view has no rows of its own, so its rows are counted by reading it.
            "dagster/row_count": report.tables[model.name] if table.row_count is None else table.row_count,
            "dagster/column_schema": model_schema(model, table.columns),
            "dagster/column_lineage": model_lineage(model, TABLES, WAREHOUSE),
            "preview": dg.MetadataValue.md(table.preview),
            "build_id": report.build_id,
            "build": "full" if report.is_full else "incremental",
            **({"chart": dg.MetadataValue.md(table.chart)} if table.chart else {}),
        }
        yield MaterializeResult(asset_key=model_key(model.name), metadata=metadata)


def _check_results(checks: list["CheckResult"]) -> Iterator[dg.AssetCheckResult]:
    for check in checks:
        yield dg.AssetCheckResult(
            asset_key=model_key(check.table),
            check_name=check.name,
            passed=check.passed,
            severity=SEVERITIES[check.severity],
            metadata={
                "failing_rows": check.failing_count,
                "acknowledged_rows": check.acknowledged_count,
                "finding": dg.MetadataValue.text(check.finding),
                "looked_at": "every row" if check.is_whole else "the rows that changed",
                "sample": dg.MetadataValue.json([{k: str(v) for k, v in row.items()} for row in check.sample]),
            },
        )
