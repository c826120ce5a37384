"""A real process is killed at random points of a sweep; the next one ends with the truth, and asks for the rest."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import steps
from pipelines.errors import CredentialRefusedError
from pipelines.home.times import utc_now
from pipelines.poll.opening import LockedStateError, open_state
from pipelines.poll.poll_state import PollState
from pipelines.poll.report import SweepRequest
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.poll.sweeping import QUICK, assert_raw_is_the_truth, raw_events, raw_sweeps, settings_for, sweep
from tests.proving import seeds

# Small batches, so that a kill meets every stage: asking, writing, renaming, remembering.
CHILD = """
import json, os, signal, sys, threading
from collections import Counter
from pathlib import Path
from pipelines.poll import sweep
from pipelines.raw import landing
from pipelines.poll.report import SweepRequest
from pipelines.settings import load_settings
from pipelines.steps import sweep as run
sweep.BATCH_EVENTS = 40
put_in_place, left = landing.put_in_place, int(os.environ.get("KILLED_AT_RENAME", 0))

def renamed(complete, path):
    global left
    put_in_place(complete, path)
    if "embed_events" in path.parts:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

landing.put_in_place = renamed

# Every call in these files is a place to die, counted by place: a place is met in its phase, whatever else is called.
FILES = ("poll/batches.py", "poll/discovery.py", "poll/listing.py", "poll/report.py", "poll/poll_state.py",
         "poll/sweep.py", "raw/held.py", "raw/landing.py", "chain/chain.py", "chain/file_links.py",
         "home/files.py", "home/ownership.py", "pipelines/steps.py")
places, (place_to_die, at) = Counter(), json.loads(os.environ.get("KILLED_AT_PLACE", '["", 0]'))

def called(frame, event, argument):
    code = frame.f_code
    if not code.co_filename.endswith(FILES):
        return
    place = f"{Path(code.co_filename).name} {code.co_name} {event} {getattr(argument, '__name__', '')}"
    places[place] += 1
    if place == place_to_die and places[place] == at:
        os.kill(os.getpid(), signal.SIGKILL)

if "PLACES" in os.environ or place_to_die:
    threading.setprofile(called)
    sys.setprofile(called)
run(load_settings(), SweepRequest(), on_wait=print)
sys.setprofile(None)
if "PLACES" in os.environ:
    Path(os.environ["PLACES"]).write_text(json.dumps(places))
"""


def start_sweep(simulator: RunningSimulator, home: Path, **more: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {
        "ONESCHEMA_API_KEY": simulator.api_key,
        "ONESCHEMA_API_URL": simulator.url,
        "ONESCHEMA_ENVIRONMENT": "Production",
        "EMBED_ANALYTICS_HOME": str(home),
        "EMBED_ANALYTICS_CONCURRENCY": "4",
        **more,
    }
    return subprocess.Popen([sys.executable, "-c", CHILD], env=environment, cwd=home.parent)


def finish_and_compare(simulator: RunningSimulator, home: Path) -> None:
    """A sweep after a kill asks for no embed whose events are all in raw, and ends with the truth."""
    requests = simulator.simulation.requests
    held = set(raw_events(home)["event_uuid"])
    by_embed: dict[int, set[str]] = {}
    for event in simulator.truth():
        by_embed.setdefault(event["embed_id"], set()).add(event["uuid"])
    landed = {embed_id for embed_id, uuids in by_embed.items() if uuids <= held}

    asked_before = dict(requests.events_by_embed)
    sweep(settings_for(simulator, home))
    asked = {embed_id for embed_id, count in requests.events_by_embed.items() if count > asked_before.get(embed_id, 0)}
    assert not asked & landed
    assert_raw_is_the_truth(home, simulator)


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(8))
def test_a_killed_sweep_goes_on_from_what_had_landed(home: Path, seed: int) -> None:
    chance = random.Random(seed)
    with running_simulator(SimulatorOptions(embeds=60, days=6, seed=seed, latency_seconds=0.002)) as simulator:
        requests = simulator.simulation.requests
        kills = 0
        while kills < 2:
            # Killed as soon as it has asked for so many embeds more, wherever its other work is then.
            limit = len(requests.events_by_embed) + chance.randint(1, 25)
            child = start_sweep(simulator, home)
            while child.poll() is None and len(requests.events_by_embed) < limit:
                os.sched_yield()
            os.kill(child.pid, signal.SIGKILL) if child.poll() is None else None
            child.wait()
            kills += 1

        finish_and_compare(simulator, home)
        assert raw_sweeps(home)["is_complete"].to_list()[-1]
        assert not list(home.rglob(".tmp-*")), "a killed writer's half-written file was left"


@pytest.mark.slow
@pytest.mark.parametrize("rename", [1, 2, 4, 7, 11])
def test_killed_between_two_files_of_a_batch_and_before_it_is_remembered(home: Path, rename: int) -> None:
    with running_simulator(SimulatorOptions(embeds=60, days=4)) as simulator:
        child = start_sweep(simulator, home, KILLED_AT_RENAME=str(rename))
        assert child.wait() == -signal.SIGKILL
        assert raw_events(home)["folder"].n_unique() > 0
        finish_and_compare(simulator, home)


# Paged, so that the list takes several requests, too.
PAGED = SimulatorOptions(embeds=60, days=6, paging="capped", page_cap=20)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often each place of the code is met in a whole sweep."""
    folder = tmp_path_factory.mktemp("places")
    with running_simulator(PAGED) as simulator:
        assert start_sweep(simulator, folder / "home", PLACES=str(folder / "places.json")).wait() == 0
    found: dict[str, int] = json.loads((folder / "places.json").read_text())
    for phase in ("walk_all", "list_embeds", "land_embeds", "begin_sweep", "_write", "remember", "polled", "_record"):
        assert any(f" {phase} " in place for place in found), f"no place in {phase}"
    return found


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(10))
def test_killed_at_random_places_of_every_phase(home: Path, places: dict[str, int], seed: int) -> None:
    """Each place is as likely as any other: listing, beginning, landing, remembering, recording, not asking alone."""
    chance = random.Random(seed)
    with running_simulator(PAGED) as simulator:
        for _ in range(3):
            place = chance.choice(sorted(places))
            at = chance.randint(1, places[place])
            # A place is met less often in a sweep that is taken up again: then nothing is killed.
            status = start_sweep(simulator, home, KILLED_AT_PLACE=json.dumps([place, at])).wait()
            assert status in (0, -signal.SIGKILL), place
        finish_and_compare(simulator, home)
        assert raw_sweeps(home)["is_complete"].to_list()[-1]


def test_a_killed_backfill_goes_on_though_a_refresh_came_between(home: Path) -> None:
    """What the refresh has asked since needs no asking either; a reconcile asks it, since it compares."""
    with running_simulator(SimulatorOptions(embeds=80, days=4)) as simulator:
        settings = settings_for(simulator, home, embed_analytics_concurrency=1)
        requests = simulator.simulation.requests
        last = datetime.fromtimestamp(simulator.simulation.clock.now(), UTC).date()
        for request in (SweepRequest("backfill", last - timedelta(days=4), last), SweepRequest("reconcile")):
            # Refused half-way, which ends a sweep as a kill does: what was answered has landed.
            requests.reset()
            simulator.throw(refused_after_requests=45)
            with pytest.raises(CredentialRefusedError):
                sweep(settings, request=request)
            simulator.throw(refused_after_requests=None)
            *answered, _ = requests.events_by_embed
            assert len(answered) > 30
            refreshed = sweep(settings)
            assert not refreshed.is_resumed
            requests.reset()
            report = sweep(settings, request=request)
            assert report.is_resumed
            assert report.is_complete
            assert not set(answered) & set(requests.events_by_embed) or request.kind == "reconcile"
            assert_raw_is_the_truth(home, simulator)
        # The reconcile's coverage is whole, each embed counted once, whatever was asked twice.
        coverage = report.coverage or []
        assert sum(day["held_at_source_count"] for day in coverage) == len(raw_events(home))
        assert {day["held_purged_count"] + day["unheld_count"] for day in coverage} == {0}


def test_the_state_can_be_lost(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=40)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings)
        for path in home.glob("state/poll.sqlite*"):
            path.unlink()
        lines: list[str] = []
        report = steps.sweep(settings, SweepRequest("refresh"), on_wait=lines.append, retry=QUICK)
        assert ["poll.sqlite is missing" in line for line in lines] == [True]
        assert report.landed_event_count == 0
        assert report.delivered_event_count > 0
        assert_raw_is_the_truth(home, simulator)
        with open_state(settings.home) as state:
            assert state.embed_count() == 40


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_damaged_state_is_set_aside_and_made_again(home: Path, *, is_seen: bool) -> None:
    """Whether it is found before it is opened, or where SQLite reads it."""
    with running_simulator(SimulatorOptions(embeds=20, days=3)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings)
        path = home / "state" / "poll.sqlite"
        times = path.stat()
        content = path.read_bytes()
        # All but the header and the schema.
        damaged = content[:4096] + bytes(len(content) - 4096)
        with path.open("r+b") as file:
            file.write(damaged)
        if not is_seen:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        lines: list[str] = []
        report = steps.sweep(settings, SweepRequest("refresh"), on_wait=lines.append, retry=QUICK)
        (line,) = lines
        assert f"{path} is damaged" in line
        (aside,) = path.parent.glob("poll.damaged-*.sqlite")
        assert aside.name in line
        assert aside.read_bytes()[: len(damaged)] == damaged
        assert report.due_count == 20
        assert_raw_is_the_truth(home, simulator)
        assert sweep(settings).due_count < 20


def test_a_locked_state_is_not_a_damaged_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator(SimulatorOptions(embeds=5)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings)
        path = home / "state" / "poll.sqlite"
        connect = sqlite3.connect

        def impatient(path: Path, **options: Any) -> sqlite3.Connection:
            return connect(path, **options, timeout=0)

        monkeypatch.setattr(sqlite3, "connect", impatient)
        with closing(connect(path)) as other:
            other.execute("begin exclusive")
            with pytest.raises(LockedStateError, match=r"poll\.sqlite is locked"):
                sweep(settings)
        monkeypatch.undo()
        assert not list(path.parent.glob("poll.damaged-*"))
        assert sweep(settings).is_complete


def test_raw_files_that_are_gone_land_again_and_moved_ones_cost_nothing(home: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=40, days=6)) as simulator:
        settings = settings_for(simulator, home)
        sweep(settings)
        # The same rows in other files, as compacting does.
        for path in home.glob("raw/embed_events/*/*.parquet"):
            path.rename(path.with_name("compacted.parquet"))
        with open_state(settings.home) as state:
            due = state.due_count(utc_now())
        assert due < 40
        assert sweep(settings).due_count <= due
        # A backup from before the last days.
        for folder in sorted(home.glob("raw/embed_events/*"))[-4:]:
            shutil.rmtree(folder)
        sweep(settings)
        assert_raw_is_the_truth(home, simulator)


def test_a_new_folder_is_durable_before_its_events_are_remembered(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power can take a folder's name while it leaves the state that remembers the events in it."""
    durable: set[int] = set()
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        durable.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    polled = PollState.polled

    def checked(self: PollState, outcomes: Any, sweep_id: str) -> None:
        folders = list(home.glob("raw/embed_events/*"))
        assert folders
        above = {path for folder in folders for path in (folder, folder.parent, folder.parent.parent)}
        assert {path.stat().st_ino for path in above} <= durable
        polled(self, outcomes, sweep_id)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(PollState, "polled", checked)
    with running_simulator(SimulatorOptions(embeds=10, days=2)) as simulator:
        sweep(settings_for(simulator, home))
