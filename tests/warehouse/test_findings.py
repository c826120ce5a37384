"""A check says in words what it found, and a setting names what it need not say again."""

from collections.abc import Sequence

import pytest

from pipelines.errors import ConfigurationError
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildCheckFailedError
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.run_checks import CheckResult
from tests.warehouse.lake import Lake, at, event


def found(lake: Lake, check: str, **acknowledged: Sequence[str]) -> CheckResult:
    options = BuildOptions(Settings.defaults(embed_analytics_acknowledged=acknowledged), "test")
    (result,) = [result for result in build(lake.home, options).checks if result.name == check]
    return result


def of_types(lake: Lake, *types: str) -> None:
    lake.write([event(f"e{number}", number, each, at(number)) for number, each in enumerate(types)])


@pytest.mark.slow
def test_a_warning_names_what_it_found_once_each(lake: Lake) -> None:
    of_types(lake, "b", "a", "b", "embed_closed")
    assert found(lake, "event_types_known").finding == "event types that the vendor's page does not list: a, b"
    of_types(lake, *"gfedcba")
    assert found(lake, "event_types_known").finding.endswith("list: a, b, c, d, e and 2 more")


def test_what_it_names_is_only_text(lake: Lake) -> None:
    of_types(lake, "a\x1b[31m\n" + "x" * 99)
    named = found(lake, "event_types_known").finding.rpartition(": ")[2]
    assert named == "a\\x1b[31m\\n" + "x" * 48 + "…"


def test_a_check_without_such_words_counts_rows(lake: Lake) -> None:
    of_types(lake, "embed_closed")
    lake.days["2026-03-02"]["event_count"] += 1
    with pytest.raises(BuildCheckFailedError, match="deliveries_reconcile") as failure:
        found(lake, "deliveries_reconcile")
    failed = failure.value.report.failed_checks
    assert {check.finding for check in failed if check.severity == "error"} == {"1 row"}


@pytest.mark.slow
def test_what_is_acknowledged_does_not_count_and_the_rest_does(lake: Lake) -> None:
    of_types(lake, "sheet_exported", "sheet_shared", "odd", "o.d")
    result = found(lake, "event_types_known", event_types_known=["sheet_*", "o.d"])
    assert (result.passed, result.failing_count, result.acknowledged_count) == (False, 1, 3)
    assert result.finding.endswith("does not list: odd")
    assert found(lake, "event_types_known", event_types_known=["*"]).passed
    # Taken back, it counts again.
    assert found(lake, "event_types_known", event_types_known=["o*"]).failing_count == 2


# What these find is shown where damage, error counts and claim patterns are tested.
ELSEWHERE = {"raw_readable", "error_counts_kept", "claim_patterns_match"}
WARNINGS = {check.name for check in load_checks() if check.severity == "warn"} - ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WARNINGS))
def test_every_warning_says_what_it_found_and_can_be_acknowledged(lake: Lake, name: str) -> None:
    of_types(lake, "odd")
    lake.write([event("late", 1, "odd", at(60 * 24 * 99), trigger_type="robot")], {"unknown": 1})
    lake.days["unknown"] = lake.days["unknown"] | {"unlisted_claim_count": 1, "missing_key_count": 1}
    found_more = '[{"event_date": "2026-03-02", "environment_name": null, "source_count": 9, "unheld_count": 3}]'
    lake.sweep(
        at(0),
        kind="reconcile",
        coverage='[{"event_date": "2026-03-02", "unheld_count": 3}]',
        coverage_by_environment=found_more,
    )
    lake.sweep(at(1), failed_count=1, unasked_embed_count=2, first_loss_at=at(9))
    lake.embeds([{"embed_id": 1, "status": "odd"}])
    lake.home.root.chmod(0o755)
    result = found(lake, name)
    assert not result.passed
    assert result.finding not in ("", "1 row")
    assert found(lake, name, **{name: ["*"]}).passed


@pytest.mark.parametrize("name", ["nothing", "fct_embeds_unique"])
def test_only_a_warning_can_be_acknowledged(lake: Lake, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"EMBED_ANALYTICS_ACKNOWLEDGED: {name}: not a check that warns"):
        found(lake, name, **{name: ["*"]})
