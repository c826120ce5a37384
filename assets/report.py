"""The page, written beside the warehouse each time that is published."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.failures import clear_failures
from assets.metadata import MaterializeResult, code_references
from assets.run_end import end_run
from assets.upkeep import freshness_of, tags_of
from assets.warehouse import model_key
from pipelines import steps
from pipelines.errors import ConfigurationError
from pipelines.home.full_disk import full_disk_named
from pipelines.home.layout import Home
from pipelines.orchestration.jobs import REPORT_STEP
from pipelines.orchestration.run_summary import PAGE_CHECK
from pipelines.report.tables import TABLES
from pipelines.settings import Settings

REPORT = dg.AssetKey(["report"])

CODE = (
    ("the asset", Path(__file__)),
    ("the page", Path(steps.__file__).parent / "report" / "page.py"),
)

# The table whose chart stands for the page.
FUNNEL = "fct_embed_funnel_daily"

CHECK = dg.AssetCheckSpec(
    PAGE_CHECK,
    asset=REPORT,
    description="`report.html` was written when the warehouse was published. It holds as well where the extra "
    "`report`, which draws the page, is not installed.",
    metadata={"severity": "warn"},
)


def build_report(settings: Settings) -> dg.AssetsDefinition:
    """The page as an asset. What keeps it from being written is a warning: the warehouse has been published."""

    @dg.multi_asset(name=REPORT_STEP, specs=[_spec(settings)], check_specs=[CHECK])
    def report(context: dg.AssetExecutionContext) -> Iterator[MaterializeResult | dg.AssetCheckResult]:
        """Writes the page of what is published."""
        with clear_failures(context), full_disk_named(settings.home):
            events = _write(context, settings)
        yield from events
        end_run(context, settings.home)

    return report


def _spec(settings: Settings) -> dg.AssetSpec:
    return dg.AssetSpec(
        REPORT,
        deps=[model_key(name) for name in sorted({"meta_build", "rpt_customers", "rpt_metrics", *TABLES})],
        # Without the extra that draws it there is no page, and the run goes on.
        skippable=True,
        group_name="report",
        kinds={"html"},
        description="The page: the numbers of the published warehouse as one HTML file, for people who write no SQL. "
        "docs/report.md says what is on it.",
        metadata=code_references(CODE),
        owners=[settings.embed_analytics_owner],
        tags=tags_of("report"),
        freshness_policy=freshness_of(settings),
    )


def _write(context: dg.AssetExecutionContext, settings: Settings) -> list[MaterializeResult | dg.AssetCheckResult]:
    from pipelines.report.page import ExtraMissingError, write_page

    try:
        path = write_page(settings).absolute()
    except ExtraMissingError as error:
        context.log_event(dg.AssetObservation(REPORT, metadata={"not_written": str(error)}))
        return [_result("no page, which needs the extra `report`: pip install 'embed-analytics[report]'")]
    except ConfigurationError as error:
        return [_result(f"{error} {_held(settings.home)}", passed=False)]
    url = settings.embed_analytics_report_url
    metadata: dict[str, dg.MetadataValue] = {
        **({"copy": dg.MetadataValue.url(url)} if url else {}),
        "file": dg.MetadataValue.path(path),
        **_picture(context),
    }
    return [
        MaterializeResult(asset_key=REPORT, metadata=metadata),
        _result(f"page {path}"),
    ]


def _picture(context: dg.AssetExecutionContext) -> dict[str, dg.MetadataValue]:
    """The funnel as its table shows it, of the build that is published. Empty where there was nothing to draw."""
    event = context.instance.get_latest_materialization_event(model_key(FUNNEL))
    table = event.asset_materialization if event is not None else None
    return {"funnel": table.metadata["chart"]} if table is not None and "chart" in table.metadata else {}


def _held(home: Home) -> str:
    if home.report.exists():
        return f"{home.report} stays as an earlier run wrote it."
    return f"{home.report} was not written."


def _result(finding: str, *, passed: bool = True) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=REPORT,
        check_name=CHECK.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"finding": dg.MetadataValue.text(finding)},
    )
