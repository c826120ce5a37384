"""`embed-analytics status` on real homes: what it shows is what the warehouse and the run history say."""

import json
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.home.layout import Home
from pipelines.home.times import utc_now
from pipelines.settings import Settings
from pipelines.simulator.server import RunningSimulator
from pipelines.terminal.status import read_status, status_lines
from pipelines.warehouse.published import connect_published
from tests.terminal.test_cli import fails, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(refreshed: Path, simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a refresh, and then one whose key was refused."""
    folder = tmp_path_factory.mktemp("status")
    shutil.copytree(refreshed / "home", folder / "home")
    assert run(folder, "refresh", ONESCHEMA_API_KEY="osk_wrong", ONESCHEMA_API_URL=simulator.url).returncode == 1
    return folder


def status(folder: Path, **settings: str) -> tuple[int, dict[str, Any]]:
    done = run(folder, "status", "--json", **settings)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_it_says_what_the_warehouse_says(folder: Path, simulator: RunningSimulator) -> None:
    code, found = status(folder)
    assert code == 0
    assert not found["is_stale"]
    assert (found["organisation"], found["api_url"]) == (simulator.simulation.options.organisation, simulator.url)
    with connect_published(Home(folder / "home")) as connection:
        build_id, through = connection.execute("select build_id, data_through from meta_build").fetchall()[0]
        (held,) = connection.execute("select count(*) from stg_embed_events").fetchall()[0]
        (stuck,) = connection.execute("select count(*) from rpt_stuck_embeds").fetchall()[0]
        (open_count,) = connection.execute("select count(*) from fct_embeds where outcome = 'open'").fetchall()[0]
        days = connection.execute("""
            select count(*) filter (verdict like 'complete as%'), count(*) filter (verdict = 'incomplete')
            from meta_completeness
        """).fetchall()[0]
        (latest,) = connection.execute("""
            select event_date::varchar, environment_name, verdict, reason
            from meta_completeness order by event_date desc, environment_name limit 1
        """).fetchall()
        checks = connection.execute("select table_name, name, finding from builder.checks where not passed").fetchall()
    published = found["published"]
    assert published["build_id"] == build_id
    assert datetime.fromisoformat(published["data_through"]).replace(tzinfo=None) == through
    counts = published["counts"]
    assert (counts["held_events"], counts["stuck"], counts["open"]) == (held, stuck, open_count)
    assert [counts[name] for name in ("complete_days", "unproven_days", "incomplete_days")] == [0, *days]
    worst = published["worst_day"]
    assert (worst["event_date"], worst["environment_name"], worst["verdict"], worst["reason"]) == latest
    assert sorted(published["warnings"]) == sorted(f"{table}: {name}: {text}" for table, name, text in checks)
    assert found["known_embeds"] == 40
    assert found["due_embeds"] <= 40


def test_runs_that_failed_are_among_the_latest(folder: Path) -> None:
    _, found = status(folder)
    assert [(run["job"], run["status"]) for run in found["runs"]] == [("refresh", "FAILURE"), ("refresh", "SUCCESS")]
    assert all(run["started_at"] <= run["ended_at"] for run in found["runs"])


def test_the_oldest_days_are_shown(folder: Path) -> None:
    _, found = status(folder)
    (raw, lake) = (
        min(path.name for path in (folder / "home" / layer / "embed_events").iterdir()) for layer in ("raw", "lake")
    )
    assert (found["oldest"]["raw"], found["oldest"]["lake"]) == (raw[-10:], lake[-10:])
    assert f"raw {raw[-10:]}" in run(folder, "status").stdout


def test_the_disk_is_counted(folder: Path) -> None:
    _, found = status(folder)
    raw = [path for path in (folder / "home" / "raw").rglob("*") if path.is_file()]
    assert found["bytes"]["raw"] == sum(path.stat().st_size for path in raw)
    assert found["bytes"]["warehouses"] >= (folder / "home" / "warehouse.duckdb").stat().st_size


def test_warnings_are_those_of_the_build(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "home", tmp_path / "home")
    (tmp_path / "home").chmod(0o705)
    assert run(tmp_path, "publish").returncode == 0
    done = run(tmp_path, "status")
    assert "home_private: everybody can enter /" in done.stdout
    # The same in words as for programs.
    assert {text for text in status(tmp_path)[1]["published"]["warnings"] if text not in done.stdout} == set()


def test_stale_data_is_said_and_is_the_exit_code(folder: Path) -> None:
    settings = Settings.defaults(embed_analytics_home=folder / "home")
    # Two hourly refreshes and an hour.
    late = timedelta(hours=3)
    fresh = read_status(settings, utc_now())
    assert fresh.published is not None
    assert fresh.published.data_through is not None
    end = fresh.published.data_through + late
    assert not read_status(settings, end).is_stale
    stale = read_status(settings, end + timedelta(microseconds=1))
    assert stale.is_stale
    (line,) = [line for line in status_lines(stale) if line.startswith("data through")]
    assert "STALE" in line


def test_a_home_without_a_warehouse_is_stale(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    done = run(tmp_path, "status")
    assert done.returncode == 1
    assert "STALE: nothing has been published" in done.stdout
    assert status(tmp_path)[1]["published"] is None
    # It made nothing.
    assert list((tmp_path / "home").iterdir()) == []


def test_a_home_that_does_not_exist(tmp_path: Path) -> None:
    fails(run(tmp_path, "status"), str(tmp_path / "home"), "does not exist")


def test_a_schedule_that_cannot_be_read(folder: Path) -> None:
    fails(run(folder, "status", EMBED_ANALYTICS_REFRESH_CRON="* *"), "EMBED_ANALYTICS_REFRESH_CRON")


def test_an_older_version_published_it(folder: Path, tmp_path: Path) -> None:
    import duckdb

    shutil.copytree(folder / "home", tmp_path / "home")
    with duckdb.connect(tmp_path / "home" / "warehouse.duckdb") as connection:
        connection.execute("drop view rpt_metrics; drop table builder.checks")
    done = run(tmp_path, "status")
    assert done.returncode == 0, done.stderr
    assert "by an older version: `embed-analytics publish`" in done.stdout


def test_text_from_outside_is_only_text(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "home", tmp_path / "home")
    path = tmp_path / "home" / "home.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"organisation": "\x1b[31mred\n\u202e"}))
    shown = run(tmp_path, "status").stdout
    assert r"\x1b[31mred\n\u202e" in shown
    assert all(character.isprintable() or character == os.linesep for character in shown)


@pytest.mark.parametrize("name", ["warehouse.duckdb", "state/poll.sqlite"])
def test_a_file_that_is_damaged_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder / "home", tmp_path / "home")
    (tmp_path / "home" / name).write_bytes(b"no database" * 1000)
    fails(run(tmp_path, "status"), name, "cannot be read")
