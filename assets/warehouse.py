"""The warehouse: every model of sql/, built, checked and published as one file."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from assets import lake, raw
from assets.partitions import clear_failures
from pipelines import steps
from pipelines.settings import load_settings
from pipelines.warehouse.build import BuildCheckFailedError, BuildReport
from pipelines.warehouse.checks import CheckResult, load_checks
from pipelines.warehouse.models import Model, load_models

# The asset that each relation of schema `source` stands for. The others (parameters, build, ...) are facts of a build.
SOURCES = {
    "embed_events": lake.EMBED_EVENTS,
    "validation_errors": lake.VALIDATION_ERRORS,
    "quarantine": lake.EMBED_EVENTS,
    "days": lake.EMBED_EVENTS,
    "claims": lake.EMBED_EVENTS,
    "embeds": raw.EMBEDS,
    "sweeps": raw.SWEEPS,
}

# Published once an hour: two missed refreshes are worth a look, a missed day is a fault.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=3))

SEVERITIES = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}


def model_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["warehouse", name])


class BuildConfig(dg.Config):
    """How to build: `full_refresh` from nothing; `check_everything` all rows, not only those that changed."""

    full_refresh: bool = False
    check_everything: bool = False


def _spec(model: Model) -> dg.AssetSpec:
    deps = {
        *(model_key(name) for name in model.depends_on),
        *(SOURCES[name] for name in model.sources if name in SOURCES),
    }
    return dg.AssetSpec(
        model_key(model.name),
        deps=sorted(deps),
        group_name="warehouse",
        kinds={"sql", "duckdb"},
        description=f"{model.description}\n\n```sql\n{model.sql}\n```",
        metadata={
            "dagster/column_schema": dg.TableSchema(
                columns=[dg.TableColumn(name, description=text) for name, text in model.columns.items()]
            )
        },
        code_version=model.code_version,
        freshness_policy=FRESHNESS,
    )


@dg.multi_asset(
    name="warehouse",
    specs=[_spec(model) for model in load_models()],
    check_specs=[
        dg.AssetCheckSpec(
            check.name,
            asset=model_key(check.table),
            description=check.description,
            blocking=check.severity == "error",
        )
        for check in load_checks()
    ],
)
def warehouse(
    context: dg.AssetExecutionContext, config: BuildConfig
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    with clear_failures():
        try:
            report = steps.publish(
                load_settings(),
                on_wait=context.log.info,
                full_refresh=config.full_refresh,
                check_everything=config.check_everything,
            )
        except BuildCheckFailedError as error:
            # The run is red and names them; nothing was published.
            yield from map(_check_result, error.report.checks)
            raise
    yield from _materializations(report)
    yield from map(_check_result, report.checks)


def _materializations(report: BuildReport) -> Iterator[dg.MaterializeResult]:
    # In the order of their dependencies, which Dagster insists on.
    for model in load_models():
        metadata: dict[str, Any] = {"build_id": report.build_id, "build": "full" if report.is_full else "incremental"}
        # A view has no rows of its own.
        if model.name in report.tables:
            metadata["dagster/row_count"] = report.tables[model.name]
        yield dg.MaterializeResult(asset_key=model_key(model.name), metadata=metadata)


def _check_result(check: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=model_key(check.table),
        passed=check.passed,
        severity=SEVERITIES[check.severity],
        metadata={
            "failing_rows": check.failing_count,
            "sample": dg.MetadataValue.json([{k: str(v) for k, v in row.items()} for row in check.sample]),
        },
    )
