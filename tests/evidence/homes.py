"""A small home, made by the real simulator, receiver and builder, and what can be done to a copy of it."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import orjson

from pipelines import steps
from pipelines.home.files import TEMPORARY_PREFIX
from pipelines.home.layout import Home
from pipelines.home.times import EPOCH
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import settings_for, sweep
from tests.webhooks.receiving import running_receiver

UNREADABLE = orjson.dumps({"uuid": "event-quarantined", "event_type": "file_uploaded", "embed_id": 7, "created_at": []})


def made_home(root: Path, **changes: object) -> Settings:
    """Sweeps on three days and what a webhook brought, some of it unreadable; flattened and published."""
    with running_simulator(SimulatorOptions(embeds=30, days=4, days_ahead=3, odd_dates=True)) as simulator:
        settings = settings_for(simulator, root, **changes)
        clock = simulator.simulation.clock
        for number in range(3):
            sweep(settings, clock=lambda: EPOCH + timedelta(seconds=clock.now()))
            if number == 0:
                with running_receiver(root) as receiver:
                    assert receiver.push(UNREADABLE).status_code == 200
            if number == 1:
                steps.flatten(settings, on_wait=_no_waiting)
            clock.advance(86_400)
    steps.flatten(settings, on_wait=_no_waiting)
    steps.publish(settings, on_wait=_no_waiting)
    return settings


def copied(settings: Settings, root: Path) -> Settings:
    """A copy of a home, by hard links: whoever changes a file puts another one in its place."""
    source = settings.home.root
    shutil.copytree(source, root, copy_function=os.link, ignore=shutil.ignore_patterns("warehouses", "*.lock"))
    return settings.model_copy(update={"embed_analytics_home": root})


def put(path: Path, content: bytes) -> None:
    """Other content in the place of a file, whose other names keep theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put changed content in the place of a file."""
    put(path, change(path.read_bytes()))


def files(home: Home, *folders: Path) -> list[Path]:
    """The files below folders, sorted."""
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def relative(home: Home, path: Path) -> str:
    return path.relative_to(home.root).as_posix()


def _no_waiting(message: str) -> None:
    raise AssertionError(message)
