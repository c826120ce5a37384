"""Damaged files: what is derived is made again in one refresh that says so; what is of raw is named and left alone."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipelines import steps
from pipelines.home.layout import Home
from pipelines.oneschema.json_text import Json
from pipelines.poll.report import SweepRequest
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.build_report import BuildReport
from pipelines.warehouse.published import connect_published
from pipelines.webhooks.records import encode
from pipelines.webhooks.segments import create_segment
from tests.flatten.flattening import token_reader
from tests.home.conftest import settings_at
from tests.home.damage import DAMAGES, flip_unseen
from tests.terminal.test_cli import run

pytestmark = pytest.mark.slow

TOKENS = token_reader({})

# The tables that say nothing of a sweep or of the build's time.
TOLD = (
    *("stg_embed_events", "stg_validation_errors", "stg_lake_days", "meta_quarantine", "meta_event_types"),
    *("fct_validation_errors_daily", "fct_sheet_operations_daily", "fct_embed_validation_errors", "fct_events_daily"),
)

# What landed again landed later, and was not merged with itself.
LANDED_AGAIN = [table for table in TOLD if table.startswith("fct_")]

DERIVED = {
    "lake events": "lake/embed_events/*/events.parquet",
    "lake errors": "lake/validation_errors/*/errors.parquet",
    "quarantine": "quarantine/*/quarantine.parquet",
    "records": "state/lake_records.parquet",
    "published": "warehouse.duckdb",
    "stamp": "state/published.json",
    "state": "state/poll.sqlite",
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=12, days=3)) as running:
        yield running


@pytest.fixture(scope="module")
def home(simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A published home with something in every file. Each test leaves it as whole as it was."""
    home = Home(tmp_path_factory.mktemp("damage") / "home")
    path, descriptor = create_segment(home.webhook_journal)
    path.write_bytes(encode({"event_type": "embed_closed", "created_at": 1.7e9}, 1_700_000_000_000_000, TOKENS))
    os.close(descriptor)
    refresh(simulator, home)
    lines, report = refresh(simulator, home)
    assert (lines, report.is_full) == ([], False)
    return home


def refresh(
    simulator: RunningSimulator, home: Home, kind: Any = "refresh", **changes: Any
) -> tuple[list[str], BuildReport]:
    """The steps of a refresh; what they said."""
    settings: Settings = settings_at(simulator, home.root, **changes)
    lines: list[str] = []
    steps.sweep(settings, SweepRequest(kind), on_wait=lines.append)
    steps.flatten(settings, on_wait=lines.append)
    return lines, steps.publish(settings, on_wait=lines.append, check_everything=kind == "reconcile")


def told(home: Home, tables: Sequence[str] = TOLD) -> dict[str, Any]:
    """Per table that stems from events: its rows, as their number and the sum of their digests."""
    with connect_published(home) as connection:
        return {
            table: connection.execute(f"select count(*), sum(hash(held)::hugeint) from {table} as held").fetchone()
            for table in tables
        }


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def one_of(home: Home, pattern: str, chance: Random) -> Path:
    return chance.choice(sorted(home.root.glob(pattern)))


@pytest.mark.parametrize("damage", [*DAMAGES, *["flipped"] * 2])
@pytest.mark.parametrize("kind", DERIVED)
def test_a_derived_file_is_made_again_in_one_refresh(
    simulator: RunningSimulator, home: Home, kind: str, damage: str, request: pytest.FixtureRequest
) -> None:
    chance = Random(request.node.name)
    path = one_of(home, DERIVED[kind], chance)
    before, raw = told(home), digests(home.root / "raw")
    DAMAGES[damage](path, chance)
    lines, report = refresh(simulator, home)
    if (kind, damage) == ("stamp", "flipped"):
        # It may be the stamp of the file before, which is not needed any more; or the published file differs from it.
        assert len(lines) <= 1
    else:
        # One line: what the test before damaged is whole again.
        (line,) = lines
        assert str(path) in line
        assert report.is_full == (kind in ("published", "stamp"))
    assert told(home) == before
    assert raw.items() <= digests(home.root / "raw").items()


@pytest.mark.parametrize("damage", ["empty", "cut", "zeroed", "flipped"])
@pytest.mark.parametrize("table", ["embed_events", "embeds", "sweeps"])
def test_a_damaged_raw_file_is_named_each_time_and_the_rest_goes_on(
    simulator: RunningSimulator, home: Home, table: str, damage: str, request: pytest.FixtureRequest
) -> None:
    chance = Random(request.node.name)
    path = one_of(home, f"raw/{table}/**/*.parquet", chance)
    before, sound = told(home, LANDED_AGAIN), path.read_bytes()
    DAMAGES[damage](path, chance)
    damaged = path.read_bytes()
    try:
        for _ in range(2):
            (line,), report = refresh(simulator, home)
            assert str(path) in line
            (check,) = [check for check in report.failed_checks if check.name == "raw_readable"]
            assert check.sample[0]["path"] == path.relative_to(home.root).as_posix()
            assert path.read_bytes() == damaged
            # The source still has the events: they have landed again.
            assert told(home, LANDED_AGAIN) == before
    finally:
        path.write_bytes(sound)
    lines, report = refresh(simulator, home)
    assert lines == []
    assert "raw_readable" not in {check.name for check in report.failed_checks}
    assert told(home, LANDED_AGAIN) == before


def test_what_a_disk_changed_by_itself_is_found_by_a_reconcile(simulator: RunningSimulator, home: Home) -> None:
    chance = Random(1)
    before = told(home)
    for kind in ("lake events", "lake errors", "quarantine"):
        path = one_of(home, DERIVED[kind], chance)
        flip_unseen(path, chance)
        assert refresh(simulator, home)[0] == []
        (line,), _ = refresh(simulator, home, "reconcile")
        assert str(path) in line
        assert told(home) == before
    raw = one_of(home, "raw/embed_events/*/*.parquet", chance)
    sound, times = raw.read_bytes(), raw.stat()
    flip_unseen(raw, chance)
    try:
        (line,), _ = refresh(simulator, home, "reconcile")
        assert str(raw) in line
        # The lake had it before, and keeps it.
        assert told(home) == before
    finally:
        raw.write_bytes(sound)
        os.utime(raw, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert refresh(simulator, home)[0] == []


@pytest.mark.parametrize("position", range(4, 60, 8))
def test_a_block_of_the_published_file_that_a_disk_changed_is_not_continued(
    simulator: RunningSimulator, home: Home, position: int
) -> None:
    """Wherever in the file, in a block that a refresh reads or in one that it copies."""
    before = told(home)
    content = bytearray(home.warehouse.read_bytes())
    content[len(content) * position // 64] ^= 4
    times = home.warehouse.stat()
    with home.warehouse.open("r+b") as file:
        file.write(content)
    os.utime(home.warehouse, ns=(times.st_atime_ns, times.st_mtime_ns))
    lines, report = refresh(simulator, home, "reconcile")
    assert [str(home.warehouse) in line for line in lines] == [True] * report.is_full
    assert told(home) == before


@pytest.mark.parametrize("damage", ["zeroed", "flipped", "foreign"])
def test_a_damaged_segment_of_the_journal_stays_and_what_can_be_read_of_it_lands(
    simulator: RunningSimulator, tmp_path: Path, damage: str, request: pytest.FixtureRequest
) -> None:
    home = Home(tmp_path / "home")
    events: list[dict[str, Json]] = [
        {"uuid": f"event-{n}", "embed_id": n, "event_type": "x", "created_at": 1.7e9} for n in range(3)
    ]
    lines_of = [encode(event, 1_700_000_000_000_000, TOKENS) for event in events]
    for _ in range(2):
        path, descriptor = create_segment(home.webhook_journal)
        path.write_bytes(b"".join(lines_of[:2]))
        os.close(descriptor)
    sound, path = sorted(home.webhook_journal.iterdir())
    if damage == "foreign":
        path = path.rename(path.with_name("old.journal"))
        path.write_bytes(b"what a person put here\n" + lines_of[2])
    else:
        DAMAGES[damage](path, Random(request.node.name))
    damaged = path.read_bytes()
    for _ in range(2):
        (line,), _ = refresh(simulator, home)
        assert str(path) in line
        assert path.read_bytes() == damaged
        assert not sound.exists()
        with connect_published(home) as connection:
            found = connection.execute("select event_uuid from stg_embed_events where event_type = 'x'").fetchall()
        assert {uuid for (uuid,) in found} == {"event-0", "event-1"} | ({"event-2"} if damage == "foreign" else set())
    path.unlink()
    assert refresh(simulator, home)[0] == []


def test_one_refresh_of_the_command_line_mends_what_is_derived_and_names_each_file_once(
    simulator: RunningSimulator, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    refresh(simulator, home)
    refresh(simulator, home)
    api = {"ONESCHEMA_API_KEY": simulator.api_key, "ONESCHEMA_API_URL": simulator.url}
    assert run(tmp_path, "refresh", **api).returncode == 0
    before, chance = told(home), Random(7)
    events, errors = (sorted(home.root.glob(DERIVED[kind])) for kind in ("lake events", "lake errors"))
    damaged = {
        # Of two days.
        events[-1]: "cut",
        errors[-2]: "missing",
        home.warehouse: "flipped",
        home.state / "poll.sqlite": "zeroed",
        home.dagster / "history" / "runs.db": "zeroed",
    }
    for chart in home.root.glob("dagster/charts/*"):
        DAMAGES["cut"](chart, chance)
    for path, damage in damaged.items():
        DAMAGES[damage](path, chance)
    done = run(tmp_path, "refresh", **api)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for path in damaged:
        assert [str(path) in line for line in done.stderr.splitlines()].count(True) == 1, (path, done.stderr)
    assert told(home) == before
