"""What could not be read is kept for as long as the setting says, and counted for good."""

import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.flatten import files
from pipelines.flatten.days import FlattenOptions, FlattenReport, catalogues, flatten_days
from pipelines.flatten.files import read_records
from pipelines.home.files import write_parquet
from pipelines.home.layout import Home
from tests.flatten.batches import batch
from tests.flatten.flattening import land, read_table, token_reader, write_raw
from tests.flatten.payloads import SECRETS
from tests.proving import examples

# Batches land in the first four hours of this day.
LANDED = datetime(2024, 2, 1)
LIMITS = st.sampled_from([None, *(LANDED + timedelta(hours=hours) for hours in (0, 1, 2, 3, 9))])
EXPIRED = ["expired_quarantined_count", "expired_field_quarantined_count"]
KEY = ["event_date", "level", "event_uuid", "embed_id", "field", "digest", "fetched_at", "payload"]


def rows(home: Home) -> pl.DataFrame:
    found = read_table(home.quarantine)
    return found.sort(KEY, nulls_last=True) if found.height else found


def flatten(home: Home, limit: datetime | None) -> FlattenReport:
    return flatten_days(home, FlattenOptions(quarantine_from=limit))


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(12))
@given(seed=st.integers(0, 2**32), limits=st.lists(LIMITS, min_size=2, max_size=4))
def test_whatever_the_limit_was_before_the_rows_are_those_of_the_limit(
    seed: int, limits: list[datetime | None]
) -> None:
    raw, _ = land(batch(seed), token_reader(SECRETS))
    later = pl.Series([Random(seed + number).random() < 0.3 for number in range(raw.height)], dtype=pl.Boolean)
    with tempfile.TemporaryDirectory() as folder:
        kept, all_of_it = Home(Path(folder) / "kept"), Home(Path(folder) / "all")
        write_raw(all_of_it, raw, "all")
        flatten(all_of_it, None)
        everything, (days, _) = rows(all_of_it), catalogues(all_of_it)
        write_raw(kept, raw.filter(~later), "first")
        flatten(kept, limits[0])
        write_raw(kept, raw.filter(later), "second")
        for limit in limits[1:]:
            flatten(kept, limit)
            # Nothing is left to do, and nothing looks damaged.
            again = flatten(kept, limit)
            assert (again.dates, again.damages, again.expired_count) == ([], [], 0)
        limit = limits[-1]
        expected = everything
        if limit is not None and everything.height:
            expected = everything.filter(pl.col("fetched_at") >= limit)
        if expected.height:
            assert_frame_equal(rows(kept), expected)
        else:
            assert rows(kept).height == 0
        found, _ = catalogues(kept)
        assert_frame_equal(found.drop(EXPIRED), days.drop(EXPIRED))
        gone = everything.height - expected.height
        assert found.select(pl.sum_horizontal(EXPIRED).sum()).item() == gone
        assert found["expired_quarantined_count"].sum() == sum(
            (frame.filter(pl.col("level") == "event").height if frame.height else 0) * sign
            for frame, sign in ((everything, 1), (expected, -1))
        )


def test_what_expires_is_said_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    raw, _ = land(batch(11), token_reader(SECRETS))
    write_raw(home, raw, "a")
    flatten(home, None)
    count = rows(home).filter(pl.col("fetched_at") < LANDED + timedelta(hours=2)).height
    assert count
    said: list[str] = []
    report = flatten(home, LANDED + timedelta(hours=2))
    report.say_expired(said.append)
    assert report.expired_count == count
    assert [line for line in said if line.startswith(f"{count} rows of the quarantine")] == said != []
    report = flatten(home, LANDED + timedelta(hours=2))
    report.say_expired(said.append)
    assert len(said) == 1


def test_a_killed_expiry_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a day's files: its quarantine is the new one, and its record still the old one."""
    home = Home(tmp_path)
    raw, _ = land(batch(11), token_reader(SECRETS))
    write_raw(home, raw, "a")
    flatten(home, None)
    limit = LANDED + timedelta(hours=2)

    before = rows(home)

    def killed(frame: pl.DataFrame, path: Path, *more: Mapping[str, str]) -> None:
        if path.name == "errors.parquet":
            raise KeyboardInterrupt
        write_parquet(frame, path, *more)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            flatten(home, limit)
    assert rows(home).height < before.height
    flatten(home, limit)
    assert_frame_equal(rows(home), before.filter(pl.col("fetched_at") >= limit))
    assert not read_records(home, looks_at_all=True).damages
