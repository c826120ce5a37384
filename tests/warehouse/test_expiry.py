"""What a setting lets expire: earlier published files by their age, and rows of the quarantine."""

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.home.layout import Home
from pipelines.home.times import start_of_kept, utc_now
from pipelines.settings import Settings
from pipelines.warehouse import build as building
from pipelines.warehouse.build_report import BuildReport
from pipelines.warehouse.mending import publish_home
from pipelines.warehouse.publish import BUILT_AT, failed_file, kept_folder
from pipelines.warehouse.published import connect_published
from pipelines.warehouse.spare import spare_file
from tests.warehouse.compare import differences
from tests.warehouse.test_from_raw import EPOCH, land


def aged(path: Path, days: int) -> Path:
    """A kept file, named as if it had been built so many days before it was."""
    time, rest = path.stem.split("-")
    older = datetime.strptime(time, BUILT_AT) - timedelta(days=days)
    return path.rename(path.with_name(f"{older:{BUILT_AT}}-{rest}.duckdb"))


@pytest.mark.slow
def test_a_file_goes_once_it_is_older_whatever_the_number(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    said: list[str] = []

    def publish(**changes: int) -> str:
        settings = Settings.defaults(embed_analytics_home=home.root, **changes)
        return publish_home(settings, said.append).build_id

    builds = [publish(embed_analytics_keep_warehouses=9) for _ in range(3)]
    old, young = (kept_folder(home) / f"{build}.duckdb" for build in builds[:2])
    old = aged(old, 31)
    failed = failed_file(home)
    failed.write_bytes(b"a build that failed")
    month_ago = (utc_now() - timedelta(days=31)).timestamp()
    os.utime(failed, (month_ago, month_ago))
    # Without the setting nothing is old.
    publish(embed_analytics_keep_warehouses=9)
    assert old.exists()
    assert failed.exists()
    assert said == []
    publish(embed_analytics_keep_warehouses=9, embed_analytics_keep_warehouses_days=30)
    assert not old.exists()
    assert not failed.exists()
    assert young.exists()
    assert [line.split(" was older")[0] for line in said] == [str(old), str(failed)]


@pytest.mark.slow
def test_a_file_that_is_too_old_does_not_live_on_as_the_spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, now = Home(tmp_path / "home"), utc_now()
    settings = Settings.defaults(
        embed_analytics_home=home.root, embed_analytics_keep_warehouses=0, embed_analytics_keep_warehouses_days=30
    )
    for age, has_spare in ((40, False), (1, False), (0, True)):
        with monkeypatch.context() as patch:
            patch.setattr(building, "utc_now", lambda age=age: now - timedelta(days=age))
            publish_home(settings, pytest.fail)
        assert spare_file(home).exists() == has_spare, age
    assert list(kept_folder(home).iterdir()) == []


@pytest.mark.slow
def test_expired_rows_of_the_quarantine_are_counted(tmp_path: Path) -> None:
    home, said = Home(tmp_path / "home"), list[str]()
    good = {"uuid": "event-1", "event_type": "embed_closed", "created_at": EPOCH}
    land(home, 0, [good | {"id": "x"}, good | {"uuid": 7}, {"created_at": "never"}])

    def counts(home: Home) -> list[tuple[int, ...]]:
        with connect_published(home) as connection:
            return connection.execute(
                "select (select count(*) from meta_quarantine), sum(delivery_count), sum(event_count), "
                "sum(quarantined_count), sum(field_quarantined_count), sum(expired_quarantined_count), "
                "sum(expired_field_quarantined_count) from stg_lake_days"
            ).fetchall()

    def publish(root: Path, **changes: int) -> BuildReport:
        return publish_home(Settings.defaults(embed_analytics_home=root, **changes), said.append)

    publish(home.root)
    assert counts(home) == [(3, 3, 1, 2, 1, 0, 0)]
    report = publish(home.root, embed_analytics_keep_quarantine_days=30)
    assert not report.is_full
    assert "quarantine_empty" not in {check.name for check in report.failed_checks}
    assert counts(home) == [(0, 3, 1, 2, 1, 2, 1)]
    assert said == [
        "3 rows of the quarantine were older than EMBED_ANALYTICS_KEEP_QUARANTINE_DAYS and have been removed."
    ]
    shutil.copytree(home.root / "raw", tmp_path / "again" / "raw")
    publish(tmp_path / "again", embed_analytics_keep_quarantine_days=30)
    assert differences(home, Home(tmp_path / "again")).keys() <= {"meta_build only in a", "meta_build only in b"}
    # Raw has them still, so a longer time brings them back.
    publish(home.root)
    assert counts(home) == [(3, 3, 1, 2, 1, 0, 0)]


def test_days_end_at_midnight() -> None:
    now = utc_now()
    limit = start_of_kept(30, now)
    assert limit is not None
    assert (limit.hour, limit.minute, limit.second, limit.microsecond) == (0, 0, 0, 0)
    assert timedelta(days=30) <= now - limit < timedelta(days=31)
    assert start_of_kept(None, now) is None
