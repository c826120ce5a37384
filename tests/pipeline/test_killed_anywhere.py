"""A whole run is killed at random places of its code, over odd accounts: nothing is lost, and nothing is doubled."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from pipelines import steps
from pipelines.home.layout import Home
from pipelines.simulator.odd_times import TimeShape
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.pushes import pushes
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.warehouse.published import connect_published
from tests.poll.sweeping import settings_for, sweep
from tests.proving import seeds
from tests.webhooks.receiving import running_receiver, settings_of

# Every call in the project's own code is a place to die, counted by place: rare ones are met as often as others.
CHILD = """
import json, os, signal, sys, threading
from collections import Counter
from pathlib import Path
import pipelines
from pipelines import steps
from pipelines.poll import sweep
from pipelines.poll.report import SweepRequest
from pipelines.settings import load_settings

sweep.BATCH_EVENTS = 40
ROOT = str(Path(pipelines.__file__).parent) + os.sep
SKIPPED = ("oneschema/json_text.py", "oneschema/reading.py", "oneschema/event_fields.py", "home/tables.py")
places, (place_to_die, at) = Counter(), json.loads(os.environ.get("KILLED_AT_PLACE", '["", 0]'))

def called(frame, event, argument):
    code = frame.f_code
    if not code.co_filename.startswith(ROOT) or code.co_filename.endswith(SKIPPED):
        return
    place = f"{code.co_filename[len(ROOT):]} {code.co_name} {event} {getattr(argument, '__name__', '')}"
    places[place] += 1
    if place == place_to_die and places[place] == at:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
threading.setprofile(called)
sys.setprofile(called)
steps.sweep(settings, SweepRequest(), on_wait=print)
steps.flatten(settings, on_wait=print)
steps.publish(settings, on_wait=print)
sys.setprofile(None)
if "PLACES" in os.environ:
    Path(os.environ["PLACES"]).write_text(json.dumps(places))
"""

PHASES = ("poll/listing.py", "raw/landing.py", "webhooks/ingest.py", "flatten/files.py", "warehouse/publish.py")


def odd_account(draw: random.Random) -> SimulatorOptions:
    """An account whose vendor does things in some odd way, each of them as likely as not."""
    ways: dict[str, Any] = {
        "created_at_shape": draw.choice(get_args(TimeShape)),
        "odd_dates": draw.random() < 0.5,
        "event_shape": draw.choice(["api", "full"]),
        "event_order": draw.choice(["ascending", "descending", "shuffled"]),
        "list_order": draw.choice(["ascending", "descending", "shuffled"]),
        "paging": draw.choice(["ignored", "honoured", "capped", "linked", "wrapped"]),
        "page_cap": 20,
        "answers_with_bom": draw.random() < 0.3,
        "push_shapes": ("gzip", "deflate", "bom", "control"),
    }
    return SimulatorOptions(embeds=40, days=5, seed=draw.randrange(1000), **ways)


def run(simulator: RunningSimulator, home: Path, **more: str) -> int:
    """Sweep, flatten and publish in a process of its own: its exit status."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {
        "ONESCHEMA_API_KEY": simulator.api_key,
        "ONESCHEMA_API_URL": simulator.url,
        "ONESCHEMA_ENVIRONMENT": "Production",
        "EMBED_ANALYTICS_HOME": str(home),
        "EMBED_ANALYTICS_CONCURRENCY": "4",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, cwd=home.parent, capture_output=True, check=False
    ).returncode


def push_some(simulator: RunningSimulator, home: Path) -> None:
    with running_receiver(home, settings=settings_of(home)) as receiver:
        for push in list(pushes(simulator.simulation))[::7]:
            assert receiver.push(push.body, **push.headers).status_code == 200


def lake_rows(home: Path) -> list[str]:
    files = sorted(home.glob("lake/embed_events/*/*.parquet"))
    return sorted(pl.concat([pl.read_parquet(file, columns=["event_uuid"]) for file in files])["event_uuid"])


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often each place of the code is met in a whole run."""
    folder = tmp_path_factory.mktemp("places")
    with running_simulator(odd_account(random.Random(0))) as simulator:
        push_some(simulator, folder / "home")
        assert run(simulator, folder / "home", PLACES=str(folder / "places.json")) == 0
    found: dict[str, int] = json.loads((folder / "places.json").read_text())
    for phase in PHASES:
        assert any(place.startswith(phase) for place in found), f"no place in {phase}"
    return found


# In each of the seeds: `make prove` kills 200 runs.
KILLS = 5


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(2))
def test_killed_anywhere_nothing_is_lost_or_doubled(tmp_path: Path, places: dict[str, int], seed: int) -> None:
    draw = random.Random(seed)
    kills = 0
    with running_simulator(odd_account(draw)) as simulator:
        for number in range(4 * KILLS):
            home = tmp_path / f"home{number}"
            push_some(simulator, home)
            # Killed again and again, until a run comes through: a place may be met less often than it was in `places`.
            while kills < KILLS and killed(simulator, home, draw, places):
                kills += 1
            settings = settings_for(simulator, home, embed_analytics_concurrency=4)
            sweep(settings)
            report = steps.flatten(settings, on_wait=made_again)
            steps.publish(settings, on_wait=made_again)
            assert_truth(home, simulator)
            # And once more changes nothing.
            sweep(settings)
            assert steps.flatten(settings, on_wait=pytest.fail).days.is_empty()
            assert report.quarantined_count == 0
            if kills == KILLS:
                return
    pytest.fail(f"only {kills} runs were killed")


def made_again(line: str) -> None:
    """After a kill a derived file may be missing beside others: nothing tells that from a file that was lost."""
    assert line.endswith(" is missing: it has been made again."), line


def killed(simulator: RunningSimulator, home: Path, draw: random.Random, places: dict[str, int]) -> bool:
    """Whether a run was killed at a place that is drawn; as likely in each file as in any other."""
    file = draw.choice(sorted({place.split()[0] for place in places}))
    place = draw.choice(sorted(place for place in places if place.split()[0] == file))
    status = run(simulator, home, KILLED_AT_PLACE=json.dumps([place, draw.randint(1, places[place])]))
    assert status in (0, -signal.SIGKILL), place
    return status != 0


def assert_truth(home: Path, simulator: RunningSimulator) -> None:
    """Raw has each event of the API's, pushed ones besides; the lake and the warehouse have each once."""
    truth = sorted({event["uuid"] for event in simulator.truth()})
    assert lake_rows(home) == truth
    with connect_published(Home(home)) as connection:
        staged = connection.execute("select event_uuid from stg_embed_events order by event_uuid").fetchall()
    assert [uuid for (uuid,) in staged] == truth
    assert not list(home.rglob(".tmp-*")), "a killed writer's half-written file was left"
    assert not list(home.glob("warehouse.duckdb.building-*"))
