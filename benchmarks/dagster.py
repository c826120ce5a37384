"""(5) What Dagster costs: loading the definitions, a refresh that finds nothing, and many days against one; `--help`.

As many sessions are backfilled over a range of days and within a single day. What Dagster alone takes to record that
many partitions is measured on three assets that do nothing, on the same storage, and told apart.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Answer, Contest, Contestant, Median, Work, at_most

HELP, LOAD, REFRESH, ONE = "`--help`", "definitions load", "refresh, nothing new", "backfill, 1 day"
ASSETS = 3


def _command(*arguments: str, **environment: str) -> Work:
    def work() -> Mapping[str, float]:
        # As users run it, the code is compiled once and not by each command.
        compiled = {"PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run([sys.executable, *arguments], check=True, env={**os.environ, **compiled, **environment})
        return {"count": 1}

    return work


def show_help(*, scratch: Path) -> Work:
    del scratch
    return _command("-m", "pipelines", "--help")


def load(*, scratch: Path) -> Work:
    del scratch
    return _command("-c", "from pipelines.definitions import defs; defs.get_repository_def()")


def empty_refresh(*, scratch: Path, url: str, api_key: str) -> Work:
    environment = {"ONESCHEMA_API_URL": url, "ONESCHEMA_API_KEY": api_key, "EMBED_ANALYTICS_HOME": str(scratch)}
    work = _command("-m", "pipelines", "refresh", **environment)
    # The first refresh finds everything; the one that is timed, nothing.
    work()
    return work


def backfill(*, scratch: Path, embeds: int, days: int) -> Work:
    from pipelines.orchestration.jobs import partition_range, run_config
    from pipelines.settings import Settings
    from pipelines.simulator.options import SimulatorOptions
    from pipelines.simulator.server import running_simulator
    from pipelines.terminal.runs import run_job

    # The world ends at the last second of its last day, so that one day holds one day's history.
    last = datetime.now(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=days - 1)
    end = datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=UTC).timestamp()
    options = SimulatorOptions(embeds=embeds, days=days, now=end)

    def work() -> Mapping[str, float]:
        with running_simulator(options) as simulator:
            settings = Settings.defaults(
                oneschema_api_url=simulator.url,
                oneschema_api_key=options.api_key,
                embed_analytics_home=scratch,
                embed_analytics_start_date=first - timedelta(days=1),
            )
            summary = run_job(settings, "backfill", run_config("backfill"), partition_range(first, last))
        return {"count": days, "events": summary.metadata["raw/embed_events"]["landed_events"]}

    return work


def recording(*, scratch: Path, days: int) -> Work:
    import dagster as dg

    from pipelines.home.layout import Home
    from pipelines.orchestration.instance.dagster_internals import add_partition_metadata
    from pipelines.orchestration.instance.opening import open_instance
    from pipelines.orchestration.jobs import partition_range

    start = date(2025, 1, 1)
    partitions = dg.DailyPartitionsDefinition(start_date=str(start))

    def nothing(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
        def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            metadata = {key: {"dagster/partition_row_count": 0} for key in context.partition_keys}
            add_partition_metadata(context, dg.AssetKey(name), metadata)
            return dg.MaterializeResult()

        return asset

    assets = [nothing(f"asset_{number}") for number in range(ASSETS)]
    definitions = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("nothing", dg.AssetSelection.all())])
    job = definitions.resolve_job_def("nothing")

    def work() -> Mapping[str, float]:
        with open_instance(Home(scratch)) as instance:
            result = job.execute_in_process(
                instance=instance,
                tags=partition_range(start, start + timedelta(days=days - 1)),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            assert result.success
        return {"count": days}

    return work


def answer(*, embeds: int = 300, days: int = 365, rounds: int = 3) -> Answer:
    from benchmarks.server import simulator

    many, alone = f"backfill, {days} days", f"Dagster alone, {days} days"
    with simulator(embeds=embeds) as account:
        account.make_everything()
        contest = Contest(
            [
                Contestant(HELP, "benchmarks.dagster:show_help"),
                Contestant(LOAD, "benchmarks.dagster:load"),
                Contestant(
                    REFRESH,
                    "benchmarks.dagster:empty_refresh",
                    {"url": account.url, "api_key": account.api_key},
                ),
                Contestant(ONE, "benchmarks.dagster:backfill", {"embeds": embeds, "days": 1}),
                Contestant(many, "benchmarks.dagster:backfill", {"embeds": embeds, "days": days}),
                Contestant(alone, "benchmarks.dagster:recording", {"days": days}),
            ],
            rounds,
        )
    seconds = {name: contest.median(name, lambda run: run.seconds) for name in contest.runs}
    each = 1000 * seconds[alone] / days / ASSETS
    return Answer(
        [contest.table("partitions", {"events": lambda run: f"{run.told.get('events', 0):,.0f}"})],
        [
            at_most("`embed-analytics --help`, CPU", contest.median(HELP, lambda run: run.cpu_seconds), 0.3, " s"),
            at_most("Dagster, definitions load", seconds[LOAD], 2, " s"),
            at_most("Dagster, refresh that finds nothing, command to exit", seconds[REFRESH], 6, " s"),
            at_most(
                f"Dagster, {days} days over 1 day, its own recording told apart",
                Median(
                    (days_run.seconds - alone_run.seconds) / one_run.seconds
                    for days_run, alone_run, one_run in zip(
                        *(contest.runs[name] for name in (many, alone, ONE)), strict=True
                    )
                ),
                2,
            ),
        ],
        [
            f"Recording takes {each:.1f} ms per partition and asset; with it, {days} days take "
            f"{contest.ratio(many, ONE, lambda run: run.seconds):.2f} times as long as one."
        ],
    )


SMALL = {"embeds": 20, "days": 3, "rounds": 1}
