"""A home works in a folder of any name, or says at once that it does not; it can be moved, and its owner renamed."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.errors import ConfigurationError, WrongHomeError
from pipelines.home.layout import Home
from pipelines.home.ownership import claim_home
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.orchestration.presentation import events_chart, file_row_count, published_tables, row_counts
from pipelines.raw.landing import raw_row_counts
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator
from pipelines.terminal.query import run_query
from pipelines.terminal.runs import run_job
from pipelines.warehouse.build_report import BuildReport
from tests.home.conftest import Refresh, settings_at

NAMES = [
    *("a[prod]", "[!x]", "b*c", "**", "{a,b}", "h#i", "j k", "it's", 'q"x', "new\nline", "semi;colon", "a$b", "x&y"),
    *("100%", "~", "-dash", "é", "event_date=2026-01-01"),
]
REFUSED = ["d?e", "f%20g", "back\\slash", "not\udcffutf8"]


def told(report: BuildReport) -> dict[str, int]:
    """Rows of the tables that stem from events; each sweep adds one to others."""
    return {table: count for table, count in report.tables.items() if table.startswith(("fct_", "stg_"))}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_refresh_in_a_folder_of_any_name(
    refresh: Refresh, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / name / "home")
    first = refresh(home.root)
    again = refresh(home.root)
    assert first.tables["stg_embed_events"] > 100
    assert (again.is_full, told(again)) == (False, told(first))
    capsys.readouterr()
    run_query(home, "select count(*) as n, count(distinct event_date) as days from stg_embed_events", "json", 10)
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["n"] == first.tables["stg_embed_events"]
    # What Dagster shows counts the same files.
    days = [path.name.removeprefix("event_date=") for path in home.raw_embed_events.iterdir()]
    assert sum(raw_row_counts(home, days).values()) == answer["n"]
    assert sum(row_counts(home.lake_embed_events, days).values()) == answer["n"]
    assert file_row_count(home.raw_sweeps) == 2
    assert events_chart(home, max(days)) is not None
    assert published_tables(home)["rpt_embed_timeline"].row_count == answer["n"]


@pytest.mark.slow
def test_a_folder_whose_name_is_a_pattern_reads_no_other_home(refresh: Refresh, tmp_path: Path) -> None:
    alone = refresh(tmp_path / "bXc" / "home")
    assert told(refresh(tmp_path / "b*c" / "home")) == told(alone)
    assert told(refresh(tmp_path / "b[X]c" / "home")) == told(alone)


@pytest.mark.slow
def test_a_run_of_dagster_in_a_folder_of_an_odd_name(
    simulator: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
    settings = settings_at(simulator, tmp_path / "".join(NAMES) / "home")
    today = datetime.fromtimestamp(SimulatorOptions().now or 0, UTC).date()
    summary = run_job(settings, "refresh", run_config("refresh"), partition_range(today, today))
    assert summary.metadata["raw/embed_events"]["landed_events"] > 100
    assert (settings.home.dagster / "history" / "runs" / "index.db").exists()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("is_link", [False, True])
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_written(
    refresh: Refresh, tmp_path: Path, name: str, *, is_link: bool
) -> None:
    root = tmp_path / name / "home"
    if is_link:
        root.mkdir(parents=True)
        (tmp_path / "link").symlink_to(root)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_HOME") as refused:
        refresh(tmp_path / "link" if is_link else root)
    assert len(str(refused.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_home_that_was_moved_goes_on(refresh: Refresh, tmp_path: Path) -> None:
    first = refresh(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    again = refresh(tmp_path / "there")
    assert (again.full_reason, told(again)) == (None, told(first))
    assert not (tmp_path / "here").exists()


def test_an_organisation_that_was_renamed_goes_on_as_the_message_says(tmp_path: Path) -> None:
    home = Home(tmp_path)
    claim_home(home, "https://api.oneschema.co", "Acme")
    claim_home(home, "https://api.oneschema.co", "Acme")
    with pytest.raises(WrongHomeError) as refused:
        claim_home(home, "https://api.oneschema.co", 'Acme "2"\nInc.')
    said = re.search(r"write (\{.*\}) to (.*)\.$", str(refused.value))
    assert said is not None
    Path(said[2]).write_text(said[1], encoding="utf-8")
    claim_home(home, "https://api.oneschema.co", 'Acme "2"\nInc.')


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", "3", '"x"'])
def test_a_damaged_claim_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "home.json").write_text(text, encoding="utf-8")
    with pytest.raises(WrongHomeError, match=r"home\.json"):
        claim_home(Home(tmp_path), "https://api.oneschema.co", "Acme")
