"""What Dagster costs: loading definitions, a refresh that finds nothing, and 365 days against one.

    python benchmarks/dagster_runs.py [--embeds 300] [--days 365]

As many sessions are backfilled over a range of days and within a single day. What Dagster takes to record that many
partitions is measured on assets that do nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.home import Home
from pipelines.jobs import partition_range, run_config
from pipelines.runs import open_instance, run_job
from pipelines.settings import Settings, use_settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator


@dataclass(frozen=True)
class Cost:
    """Seconds of a backfill, the events that it landed, and the partitions that it filled."""

    total: float
    events: int
    partitions: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeds", type=int, default=300)
    parser.add_argument("--days", type=int, default=365)
    arguments = parser.parse_args()
    print(f"definitions load in {_definitions_seconds():.2f} s (median of 3 fresh interpreters)")
    _empty_refresh()
    many = _backfill(arguments.embeds, arguments.days)
    one = _backfill(arguments.embeds, 1)
    print(f"{many.partitions} days: {many.total:.2f} s for {many.events} events")
    print(f"1 day: {one.total:.2f} s for {one.events} events")
    recording = _recording_seconds(arguments.days)
    print(
        f"Dagster alone, three assets of {arguments.days} partitions that do nothing: {recording:.2f} s, "
        f"{1000 * recording / arguments.days / 3:.1f} ms per partition and asset"
    )
    print(
        f"ratio {many.total / one.total:.2f}; without Dagster's own recording "
        f"{(many.total - recording) / one.total:.2f} (at most 2)"
    )


def _definitions_seconds() -> float:
    command = [sys.executable, "-c", "from pipelines.definitions import defs; defs.get_repository_def()"]
    return sorted(_timed(command, {}) for _ in range(3))[1]


def _empty_refresh() -> None:
    with _simulator(embeds=300, days=30.0) as simulator, tempfile.TemporaryDirectory() as folder:
        environment = {
            "ONESCHEMA_API_URL": simulator.url,
            "ONESCHEMA_API_KEY": simulator.api_key,
            "EMBED_ANALYTICS_HOME": folder,
        }
        command = [sys.executable, "-m", "pipelines", "refresh"]
        first = _timed(command, environment)
        again = sorted(_timed(command, environment) for _ in range(3))[1]
    print(f"refresh: {first:.2f} s at first, {again:.2f} s when nothing is new (median of 3, command to exit)")


def _timed(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    return time.perf_counter() - started


def _backfill(embeds: int, days: int) -> Cost:
    # The world ends at the last second of its last day, so that one day holds one day's history.
    today = datetime.now(UTC).date() - timedelta(days=1)
    end = datetime(today.year, today.month, today.day, 23, 59, 59, tzinfo=UTC).timestamp()
    with (
        running_simulator(SimulatorOptions(embeds=embeds, days=days, now=end)) as simulator,
        tempfile.TemporaryDirectory() as folder,
    ):
        settings = _settings(simulator, Path(folder), today - timedelta(days=days + 1))
        with use_settings(settings):
            started = time.perf_counter()
            summary = run_job(
                settings.home,
                "backfill",
                run_config("backfill"),
                partition_range(today - timedelta(days=days - 1), today),
            )
            seconds = time.perf_counter() - started
        return Cost(seconds, summary.metadata["raw/embed_events"]["landed_events"], days)


def _recording_seconds(days: int) -> float:
    """Three assets with as many partitions that do nothing, on the same storage."""
    start = datetime.now(UTC).date() - timedelta(days=days)
    partitions = dg.DailyPartitionsDefinition(start_date=str(start))

    def nothing(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
        def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            for key in context.partition_keys:
                context.add_asset_metadata({"dagster/partition_row_count": 0}, partition_key=key)
            return dg.MaterializeResult()

        return asset

    assets = [nothing(name) for name in ("a", "b", "c")]
    job = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("nothing", dg.AssetSelection.all())]).resolve_job_def(
        "nothing"
    )
    with tempfile.TemporaryDirectory() as folder, open_instance(Home(Path(folder))) as instance:
        started = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            tags=partition_range(start, start + timedelta(days=days - 1)),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success
        return time.perf_counter() - started


@contextmanager
def _simulator(embeds: int, days: float) -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=embeds, days=days, now=None, days_ahead=0)) as simulator:
        yield simulator


def _settings(simulator: RunningSimulator, root: Path, start: Any) -> Settings:
    values: dict[str, Any] = {name: field.get_default() for name, field in Settings.model_fields.items()}
    values |= {
        "oneschema_api_url": simulator.url,
        "oneschema_api_key": simulator.simulation.options.api_key,
        "embed_analytics_home": root,
        "embed_analytics_start_date": start,
    }
    return Settings(_env_file=None, **values)


if __name__ == "__main__":
    main()
