"""Sweeping a simulator, and what raw holds afterwards."""

from pathlib import Path
from typing import Any

import polars as pl

from pipelines import steps
from pipelines.home.files import TEMPORARY_PREFIX
from pipelines.oneschema.client import RetryPolicy
from pipelines.oneschema.json_text import Json
from pipelines.poll.report import SweepKind, SweepReport, SweepRequest
from pipelines.settings import Settings
from pipelines.simulator.server import RunningSimulator

# Waits short enough for tests; as many attempts as a run makes.
QUICK = RetryPolicy(attempts=8, budget_seconds=60, wait_initial_seconds=0.002, wait_max_seconds=0.02)


def settings_for(simulator: RunningSimulator, home: Path, **changes: Any) -> Settings:
    """Settings of a home that polls this simulator, whatever the environment says."""
    account = {
        "oneschema_api_key": simulator.simulation.options.api_key,
        "oneschema_api_url": simulator.url,
        "oneschema_environment": "Production",
        "embed_analytics_home": home,
    }
    return Settings.defaults(**{**account, **changes})


def sweep(settings: Settings, kind: SweepKind = "refresh", **arguments: Any) -> SweepReport:
    """One sweep with short waits; nothing else writes to its home."""
    request = arguments.pop("request", SweepRequest(kind))
    return steps.sweep(settings, request, on_wait=_no_waiting, retry=arguments.pop("retry", QUICK), **arguments)


def id_of(embed: Json) -> int:
    """The `id` of an embed of a list."""
    assert isinstance(embed, dict)
    embed_id = embed["id"]
    assert isinstance(embed_id, int)
    return embed_id


def _no_waiting(message: str) -> None:
    raise AssertionError(message)


def raw_events(home: Path) -> pl.DataFrame:
    """Every row of raw/embed_events, with the folder it lies in."""
    files = [
        path
        for path in sorted(home.glob("raw/embed_events/event_date=*/*.parquet"))
        if not path.name.startswith(TEMPORARY_PREFIX)
    ]
    frames = [
        pl.read_parquet(path, hive_partitioning=False).with_columns(folder=pl.lit(path.parent.name[11:]))
        for path in files
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema={"event_uuid": pl.String})


def raw_sweeps(home: Path) -> pl.DataFrame:
    """Every row of raw/sweeps in the order of their end."""
    return pl.concat([pl.read_parquet(path) for path in home.glob("raw/sweeps/*.parquet")]).sort("finished_at")


def assert_raw_is_the_truth(home: Path, simulator: RunningSimulator) -> None:
    """Raw has every event that the source shows, once, and nothing else."""
    landed = raw_events(home)["event_uuid"].to_list()
    assert len(landed) == len(set(landed)), "an event landed twice"
    truth = {event["uuid"] for event in simulator.truth() if event["is_visible"]}
    assert set(landed) == truth
