"""The page as an asset: written of each build that is published, and never in the way of publishing."""

import json
import sys
from typing import Any

import dagster as dg
import pytest

from assets.report import CHECK, REPORT
from pipelines.home.layout import Home
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.orchestration.run_summary import RunSummary, summary_line
from pipelines.settings import Settings
from pipelines.terminal.runs import run_job
from pipelines.warehouse.published import connect_published
from tests.orchestration.conftest import LAST_DAY, backfill, last_line

TODAY = partition_range(LAST_DAY, LAST_DAY)
CHECK_KEY = dg.AssetCheckKey(REPORT, CHECK.name)


def _told(home: Home) -> dict[str, Any]:
    """What the page holds."""
    text = home.report.read_text(encoding="utf-8")
    return json.loads(text.partition('<script type="application/json" id="told">')[2].partition("</script>")[0])


def _row(home: Home, sql: str) -> tuple[Any, ...]:
    with connect_published(home) as connection:
        row = connection.execute(sql).fetchone()
    assert row is not None
    return row


def _refresh(settings: Settings) -> RunSummary:
    return run_job(settings, "refresh", run_config("refresh"), TODAY)


def _check(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK_KEY])[CHECK_KEY]
    assert latest.event is not None
    return latest.event.get_dagster_event().asset_check_evaluation_data


def _latest(instance: dg.DagsterInstance) -> tuple[str, dict[str, Any]]:
    """The run that last wrote the page, and what it says of it."""
    event = instance.get_latest_materialization_event(REPORT)
    assert event is not None
    assert event.asset_materialization is not None
    return event.run_id, {name: value.value for name, value in event.asset_materialization.metadata.items()}


def _assert_of_the_build(home: Home) -> dict[str, Any]:
    told = _told(home)
    assert told["build_id"] == _row(home, "select build_id from meta_build")[0]
    place = {name: number for number, name in enumerate(told["fields"])}
    (held,) = [
        row
        for row in told["rows"]
        if told["metrics"][row[place["metric"]]] == "held_events" and told["periods"][row[place["period"]]] == "now"
    ]
    assert held[place["value"]] == _row(home, "select count(*) from stg_embed_events")[0] > 0
    return told


@pytest.mark.slow
def test_it_is_written_of_each_build_and_keeps_none_from_being_published(
    settings: Settings, home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://intranet.example/report.html"
    summary = backfill(settings.model_copy(update={"embed_analytics_report_url": url}), 3)
    first = _assert_of_the_build(home)
    run_id, metadata = _latest(instance)
    assert (metadata["copy"], metadata["file"]) == (url, str(home.report))
    assert _check(instance).passed
    # The log ends with the line that the command prints last.
    line = summary_line(summary, home)
    assert last_line(instance, run_id) == line
    assert line.startswith("asked 40 of 40 listed embeds in ")
    assert f" days, published {home.warehouse}, page {home.report}, " in line

    # A bad file is a warning of its own, and the page stays as it was.
    before = home.report.read_bytes()
    home.annotations.write_text("date,text\n2026-13-01,Release\n", encoding="utf-8")
    summary = _refresh(settings)
    (warning,) = [warning for warning in summary.warnings if warning.startswith("report: page_written: ")]
    assert f"{home.annotations}, line 2: '2026-13-01' is not a date" in warning
    assert f"{home.report} stays as an earlier run wrote it." in warning
    assert ", page not written, " in summary_line(summary, home)
    assert (_check(instance).passed, _check(instance).severity) == (False, dg.AssetCheckSeverity.WARN)
    assert home.report.read_bytes() == before
    assert _row(home, "select build_id from meta_build")[0] > first["build_id"]
    assert _latest(instance)[0] == run_id

    # Who did not install what draws it is told how to, and is not warned.
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "vl_convert", None)
        summary = _refresh(settings)
    assert not [warning for warning in summary.warnings if "report" in warning]
    assert "no page, which needs the extra `report`: pip install 'embed-analytics[report]'" in summary_line(
        summary, home
    )
    assert _check(instance).passed
    (observed,) = instance.fetch_observations(REPORT, limit=1).records
    assert observed.asset_observation is not None
    assert "pip install" in str(observed.asset_observation.metadata["not_written"].value)
    assert home.report.read_bytes() == before

    # Nothing new has come, and the page is of the newer build all the same: it says how old the data is.
    home.annotations.unlink()
    _refresh(settings)
    again = _assert_of_the_build(home)
    assert again["rows"] == first["rows"]
    assert again["data_through"] > first["data_through"]
    assert _latest(instance)[0] != run_id
    assert "copy" not in _latest(instance)[1]
