"""A published file that is not the one that was published is not continued, and says so; the next one is right."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.home.files import file_state
from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse import publish as publish_module
from pipelines.warehouse import published_record, published_state
from pipelines.warehouse.build_report import BuildReport
from pipelines.warehouse.mending import publish_home
from pipelines.warehouse.publish import kept_folder
from pipelines.warehouse.published import connect_published
from pipelines.warehouse.published_record import PublishedFile
from pipelines.warehouse.sql_errors import ModelFailedError
from tests.warehouse.test_refresh_cost import NOON, land, same_names

pytestmark = pytest.mark.slow

Publish = Callable[[], tuple[BuildReport, list[str]]]

CHANGES = {
    "a row": "update fct_embeds set outcome = 'submitted'",
    "a table that is gone": "drop table fct_embeds",
    "a table that is new": "create table mine as select 1 as a",
    "a schema": "create schema scratch; create table scratch.mine as select 1 as a",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    land(home, "old", [(f"old-{n}", NOON - timedelta(days=n % 3), same_names(n)) for n in range(9)])
    return home


@pytest.fixture
def publish(home: Home) -> Publish:
    settings = Settings.defaults(embed_analytics_home=home.root)

    def run() -> tuple[BuildReport, list[str]]:
        lines: list[str] = []
        return publish_home(settings, lines.append), lines

    return run


def outcomes(home: Home) -> list[tuple[object, ...]]:
    with connect_published(home) as connection:
        return connection.execute("select embed_id, outcome from fct_embeds").fetchall()


def change(home: Home, sql: str) -> None:
    """What a client does that has the file open for writing, as most have by default."""
    with duckdb.connect(home.warehouse) as connection:
        connection.execute(sql)


def believe(home: Home) -> None:
    """Let the file be taken for what was published, as if a disk or a fault of ours had changed it."""
    published_record.write(home, [PublishedFile.of(home.warehouse, built := build_id(home.warehouse), built)])


def build_id(file: Path) -> str:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute("select build_id from meta_build").fetchall()[0][0]


def change_unseen(home: Home, sql: str) -> None:
    """Change it so that the file system says of it what it said before: inode, size and time."""
    before = home.warehouse.stat()
    # As many bytes: a file that shrank, or grew, would be known by its size.
    change(home, sql)
    os.truncate(home.warehouse, before.st_size)
    os.utime(home.warehouse, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_state(home.warehouse) == f"{before.st_ino}-{before.st_mtime_ns}-{before.st_size}"


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
def test_what_a_client_wrote_is_not_continued_and_stays_in_the_kept_file(
    home: Home, publish: Publish, sql: str
) -> None:
    first, _ = publish()
    right = outcomes(home)
    change(home, sql)
    report, (line,) = publish()
    assert report.full_reason == "is not as it was published"
    assert line == f"{home.warehouse} is not as it was published: it is built again from nothing."
    assert outcomes(home) == right
    with duckdb.connect(kept_folder(home) / f"{first.build_id}.duckdb", read_only=True) as kept:
        names = {name for (name,) in kept.execute("select table_name from duckdb_tables()").fetchall()}
    assert ("mine" in names) == ("mine" in sql)
    report, lines = publish()
    assert (report.is_full, lines) == (False, [])


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
def test_a_change_that_the_file_system_does_not_tell_of_is_not_continued(
    home: Home, publish: Publish, sql: str
) -> None:
    publish()
    right = outcomes(home)
    change_unseen(home, sql)
    report, (line,) = publish()
    assert (report.full_reason, line.count(str(home.warehouse))) == ("is not as it was published", 1)
    assert outcomes(home) == right


def test_another_build_in_the_place_of_the_published_one_is_not_continued(home: Home, publish: Publish) -> None:
    """Even one with the same headers."""
    first, _ = publish()
    land(home, "new", [("new", NOON, same_names(1))])
    publish()
    right = outcomes(home)
    second = published_record.find_published(home)
    assert second is not None
    shutil.copyfile(kept_folder(home) / f"{first.build_id}.duckdb", home.warehouse)
    published_record.write(home, [PublishedFile.of(home.warehouse, second.build_id, second.build_id)])
    report, (line,) = publish()
    assert report.full_reason == "is not the build that was published"
    assert "is not the build that was published: it is built again from nothing" in line
    assert outcomes(home) == right


def test_the_log_of_a_client_that_was_killed_is_seen(home: Home, publish: Publish) -> None:
    publish()
    right, before = outcomes(home), file_state(home.warehouse)
    killed = "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute('delete from fct_embeds'); os._exit(1)"
    subprocess.run([sys.executable, "-c", killed, str(home.warehouse)], check=False)
    assert (file_state(home.warehouse), outcomes(home)) == (before, [])
    report, (line,) = publish()
    assert report.is_full
    assert "warehouse.duckdb.wal" in line
    assert outcomes(home) == right


def test_the_record_of_a_former_version_leads_to_one_full_build(home: Home, publish: Publish) -> None:
    publish()
    (home.state / "published.json").write_text(json.dumps({"stamps": [file_state(home.warehouse)]}))
    report, (line,) = publish()
    assert report.is_full
    assert "of an old version" in line
    report, lines = publish()
    assert (report.is_full, lines) == (False, [])


def test_a_file_that_was_changed_is_not_recorded_as_published_while_its_successor_is(
    home: Home, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the record and the rename leaves it in place."""
    publish()
    change(home, CHANGES["a row"])

    def killed(*_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publish_module, "put_in_place", killed)
        with pytest.raises(KeyboardInterrupt):
            publish()
    report, (line,) = publish()
    assert report.full_reason == "is not as it was published"
    assert "is not as it was published" in line


def test_a_continuation_that_fails_is_built_from_nothing_once(home: Home, publish: Publish) -> None:
    publish()
    right = outcomes(home)
    change(home, "drop table fct_embeds")
    believe(home)
    report, (line,) = publish()
    assert report.is_full
    assert "cannot be continued (Catalog Error" in line
    assert outcomes(home) == right


def test_a_model_that_cannot_take_its_old_rows_is_built_from_nothing(home: Home, publish: Publish) -> None:
    publish()
    change(home, "alter table fct_events_daily drop column trigger_type")
    believe(home)
    land(home, "new", [("new", NOON, same_names(1))])
    report, (line,) = publish()
    assert report.is_full
    assert "cannot be continued" in line


def test_what_fails_from_nothing_as_well_fails(home: Home, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.warehouse import tables

    publish()
    published = home.warehouse.read_bytes()

    def nowhere(name: str) -> str:
        return f"nowhere.{name}"

    monkeypatch.setattr(tables, "stored", nowhere)
    with pytest.raises((ModelFailedError, duckdb.Error)):
        publish()
    assert home.warehouse.read_bytes() == published


def test_a_schema_of_a_clients_own_does_not_stop_a_file_that_is_written_afresh(
    home: Home, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    change(home, CHANGES["a schema"])
    believe(home)
    monkeypatch.setattr(published_state, "_GROWTH_LIMIT", 0)
    monkeypatch.setattr(published_state, "_GROWTH_ALLOWANCE", 0)
    report, lines = publish()
    assert (report.is_full, lines) == (False, [])
    assert "compact" in report.seconds
