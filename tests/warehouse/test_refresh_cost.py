"""What a refresh with one new event costs: as much whatever has been seen of claim names and dates before.

Costs are counts of what is read, and CPU seconds of this process as a ratio between two homes of as many events.
"""

import json
import resource
from collections.abc import Callable
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.flatten import days, files
from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.home.layout import Home
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.tokens import ReadToken
from pipelines.raw.raw_rows import Envelope, to_raw
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildReport
from tests.flatten.flattening import token_reader, write_raw

NOON = datetime(2025, 11, 20, 12)
FETCHED_AT = NOON + timedelta(days=9)
OPTIONS = BuildOptions(code_version="test")
EVENTS = 3_000

Claims = Callable[[int], dict[str, Any]]


def land(home: Home, name: str, events: list[tuple[str, datetime, dict[str, Any]]]) -> None:
    """A raw file per date with these events: uuid, time, claims."""
    deliveries: list[tuple[Json, Envelope]] = [
        (
            {"uuid": uuid, "event_type": "embed_closed", "created_at": at.timestamp()},
            Envelope(1, "t", "Production", ReadToken(json.dumps(claims), "unverified", "f"), "api", FETCHED_AT, "s"),
        )
        for uuid, at, claims in events
    ]
    write_raw(home, to_raw(deliveries, token_reader({})), name)


def refresh(home: Home) -> BuildReport:
    flatten_days(home, FlattenOptions())
    # As a run does it: what another run may have landed is flattened before the build.
    flatten_days(home, FlattenOptions())
    return build(home, OPTIONS)


def history(root: Path, claims: Claims, *, dates: int = 30) -> Home:
    """A published home with events on this many dates."""
    home = Home(root)
    land(home, "old", [(f"old-{n}", NOON - timedelta(days=n % dates), claims(n)) for n in range(EVENTS)])
    refresh(home)
    return home


def costs(homes: list[Home], runs: int = 4) -> list[float]:
    """The least user CPU time of a refresh with one new event on a date of its own. The homes take turns."""
    least = [float("inf")] * len(homes)
    for run in range(runs):
        for number, home in enumerate(homes):
            land(home, f"new-{run}", [(f"new-{run}", NOON + timedelta(days=1, hours=run), {"user_id": "u"})])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            report = refresh(home)
            least[number] = min(least[number], resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
            assert not report.is_full
    return least


class _Counting:
    """Counts what a refresh reads: footers of the lake and their bytes, rows of raw."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.footers = self.footer_bytes = self.raw_rows = 0
        self._read_footer, self._read_raw = pl.read_parquet_metadata, files.read_raw
        patch.setattr(pl, "read_parquet_metadata", self.read_footer)
        patch.setattr(days, "read_raw", self.read_raw)

    def read_footer(self, source: Path | BytesIO) -> dict[str, str]:
        found = self._read_footer(source)
        if isinstance(source, Path):
            self.footers += 1
            self.footer_bytes += sum(map(len, found.values()))
        return found

    def read_raw(self, home: Home, event_date: str, names: list[str]) -> pl.DataFrame:
        found = self._read_raw(home, event_date, names)
        self.raw_rows += found.height
        return found


def same_names(number: int) -> dict[str, Any]:
    return {"user_id": f"u{number}", "permissions": {f"{name:036}": True for name in range(20)}}


def ids_as_names(number: int) -> dict[str, Any]:
    """60,000 names in 3,000 events."""
    return {"user_id": f"u{number}", "permissions": {f"{number:018}{name:018}": True for name in range(20)}}


def one_sender_with_many_names(number: int) -> dict[str, Any]:
    """60 events of one date with 5,000 names each."""
    if number % 30 or number >= 1_800:
        return same_names(number)
    return {"user_id": "u", **{f"{number}-{name}": name for name in range(5_000)}}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("claims", [ids_as_names, one_sender_with_many_names])
def test_one_new_event_costs_as_much_after_any_number_of_claim_names(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = history(tmp_path / "few", same_names), history(tmp_path / "many", claims)
    few_cost, many_cost = costs([few, many])
    assert many_cost < 1.6 * few_cost, (few_cost, many_cost)

    counting = _Counting(monkeypatch)
    land(many, "last", [("last", NOON + timedelta(days=1), {"user_id": "u"})])
    refresh(many)
    # The date's own footer, with its one claim; the rows of its files.
    assert counting.footers == 1
    assert counting.footer_bytes < 6_000
    assert counting.raw_rows == 5
    counting = _Counting(monkeypatch)
    refresh(many)
    assert (counting.footers, counting.raw_rows) == (0, 0)

    (many.state / "lake_records.parquet").unlink()
    refresh(many)
    # All footers: 31 dates of at most 128 paths of both kinds, and the columns.
    assert counting.footers == 31
    assert counting.footer_bytes < 31 * 2 * 128 * 150


@pytest.mark.slow
@pytest.mark.alone
def test_one_new_event_costs_as_much_after_any_number_of_dates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = history(tmp_path / "few", same_names), history(tmp_path / "many", same_names, dates=2_000)
    few_cost, many_cost = costs([few, many])
    assert many_cost < 2.2 * few_cost, (few_cost, many_cost)
    counting = _Counting(monkeypatch)
    land(many, "last", [("last", NOON + timedelta(days=1), {"user_id": "u"})])
    refresh(many)
    assert (counting.footers, counting.raw_rows) == (1, 5)
