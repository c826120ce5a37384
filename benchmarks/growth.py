"""(10) Cost against growth: what one refresh, or flattening, costs as one thing grows and everything else stays.

Each axis multiplies one thing: the events of the history, the days that the same events lie on, the embeds that are
known, the claim paths of the same events, the models of the warehouse. What came new is the same at every point.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Answer, Contest, Contestant, Run, Work

# What is copied to have more models: a unit model and a whole one.
COPIED = ("fct_events_daily", "meta_event_types")


@dataclass(frozen=True)
class Axis:
    """What is done, what grows, and the arguments of a contestant for each size."""

    work: str
    grows: str
    prepare: str
    arguments: Mapping[int, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.work}: {self.grows}"

    def contest(self, rounds: int) -> Contest:
        """Its sizes take turns."""
        contestants = [Contestant(f"{size:,}", self.prepare, each) for size, each in self.arguments.items()]
        return Contest(contestants, rounds)


def refresh_with_models(*, scratch: Path, home: str, news: str, copies: int) -> Work:
    """`benchmarks.warehouse:refresh` of a warehouse with copies of models, which it had before."""
    import shutil

    from benchmarks import data, warehouse
    from pipelines.home.layout import Home
    from pipelines.warehouse import build, models

    folder = scratch / "sql"
    shutil.copytree(models.SQL, folder)
    for number in range(copies):
        for name in COPIED:
            shutil.copy(folder / f"{name}.sql", folder / f"{name}_{number}.sql")
    loaded = models.load_models(folder)
    models.load_models = build.load_models = lambda: loaded
    data.linked(Path(home), scratch / "first")
    build.build(Home(scratch / "first"), data.BUILD_OPTIONS)
    return warehouse.refresh(scratch=scratch, home=str(scratch / "first"), news=news)


def flatten(*, scratch: Path, home: str, paths: int) -> Work:
    """Flatten the events of a home, each with one more claim, of so many names."""
    import polars as pl

    from pipelines.flatten.days import FlattenOptions, flatten_days
    from pipelines.home.layout import Home

    made = Home(scratch)
    first = 0
    for file in sorted(Home(Path(home)).raw_embed_events.rglob("*.parquet")):
        events = pl.read_parquet(file, hive_partitioning=False).with_row_index("row", first)
        first += events.height
        more = pl.concat_str(pl.lit(',"path_'), pl.col("row") % paths, pl.lit('":"text"}'))
        with_claim = pl.col("claims").str.strip_suffix("}") + more
        target = scratch / file.relative_to(home)
        target.parent.mkdir(parents=True, exist_ok=True)
        events.with_columns(claims=with_claim).drop("row").write_parquet(target, compression="zstd")
    return lambda: {"count": flatten_days(made, FlattenOptions()).event_count}


def answer(
    *,
    blocks: tuple[int, ...] = (1, 10, 100),
    block_events: int = 100_000,
    embeds: tuple[int, ...] = (2_000, 20_000, 200_000),
    paths: tuple[int, ...] = (1, 1_000, 100_000),
    copies: tuple[int, ...] = (0, 10, 30),
    rounds: int = 3,
) -> Answer:
    from benchmarks import data
    from pipelines.warehouse.models import load_models

    histories = {size * block_events: data.history(size * block_events, block_events) for size in blocks}
    # The same events in blocks of fewer and fewer, and as much news for each.
    thinned = {
        size * data.BLOCK_DAYS: data.history(block_events, block_events // size, block_events // blocks[-1])
        for size in blocks
    }
    one = next(iter(histories.values()))
    home, news = one / "home", one / "news"
    model_count = len(load_models())
    axes = [
        Axis("refresh", "events held", "benchmarks.warehouse:refresh", _of_histories(histories)),
        Axis("refresh", "days of the same events", "benchmarks.warehouse:refresh", _of_histories(thinned)),
        Axis(
            "refresh",
            "models",
            "benchmarks.growth:refresh_with_models",
            {model_count + len(COPIED) * n: {"home": home, "news": news, "copies": n} for n in copies},
        ),
        Axis(
            "flatten",
            "claim paths of the same events",
            "benchmarks.growth:flatten",
            {size: {"home": home, "paths": size} for size in paths},
        ),
    ]
    contests = {axis.name: axis.contest(rounds) for axis in axes}
    with ExitStack() as accounts:
        sweeps = Axis("sweep", "embeds known", "benchmarks.steady_hour:sweep", _of_accounts(embeds, accounts))
        contests[sweeps.name] = sweeps.contest(rounds)
    return Answer([_table(contests)], [], ["What comes new is as much at each size of an axis."], _picture(contests))


def _of_histories(histories: Mapping[int, Path]) -> dict[int, dict[str, Any]]:
    return {size: {"home": folder / "home", "news": folder / "news"} for size, folder in histories.items()}


def _of_accounts(sizes: Sequence[int], accounts: ExitStack) -> dict[int, dict[str, Any]]:
    """Accounts with as many sessions a day, so that an hour brings as much, that have lasted longer and longer."""
    from benchmarks import steady_hour
    from benchmarks.server import simulator
    from pipelines.home.times import EPOCH
    from pipelines.simulator.options import DEFAULT_NOW

    now = EPOCH + timedelta(seconds=DEFAULT_NOW) + steady_hour.HOUR
    found: dict[int, dict[str, Any]] = {}
    for size in sizes:
        options = steady_hour.account_of(size, max(1, steady_hour.DAYS * size // sizes[-1]))
        home = steady_hour.known_home(options)
        account = accounts.enter_context(simulator(**options))
        account.advance(steady_hour.HOUR.total_seconds())
        found[size] = {"home": home, "url": account.url, "api_key": account.api_key, "now": now.isoformat()}
    return found


def _table(contests: Mapping[str, Contest]) -> list[list[str]]:
    rows = [["", "size", "CPU s", "times the first", "peak MB"]]
    for name, contest in contests.items():
        first = next(iter(contest.runs))
        for size, runs in contest.runs.items():
            peak = max(run.peak_bytes for run in runs) / 1e6
            times = contest.ratio(size, first, _cpu_seconds)
            rows.append([name, size, f"{contest.median(size, _cpu_seconds):.2f}", f"{times:.2f}", f"{peak:,.0f}"])
    return rows


def _cpu_seconds(run: Run) -> float:
    return run.cpu_seconds


def _picture(contests: Mapping[str, Contest]) -> str:
    """CPU seconds against size, a panel for each axis, as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        panels: list[Any] = list(figure.subplots(2, -(-len(contests) // 2)).flat)
        for panel, (name, contest) in zip(panels, contests.items(), strict=False):
            sizes = [int(size.replace(",", "")) for size in contest.runs]
            costs = [contest.median(size, _cpu_seconds) for size in contest.runs]
            spread = [[cost - cost.least for cost in costs], [cost.greatest - cost for cost in costs]]
            panel.errorbar(sizes, costs, yerr=spread, marker="o", capsize=3)
            panel.set_xscale("log" if sizes[-1] > 10 * sizes[0] else "linear")
            panel.set_ylim(bottom=0)
            panel.set_title(name)
            panel.set_ylabel("CPU seconds")
        for panel in panels[len(contests) :]:
            panel.set_axis_off()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        return drawn.getvalue()


SMALL: Mapping[str, Any] = {
    "blocks": (1, 2),
    "block_events": 2_000,
    "embeds": (20, 40),
    "paths": (1, 100),
    "copies": (0, 1),
    "rounds": 1,
}
