"""(4) The warehouse: a full build of short and long histories, and what a refresh costs on top of them.

A refresh flattens and builds what 10,000 landed events changed: most of them are new, some are late, and so are the
embeds that they belong to. A longer history is more days and not fuller ones. As between any two refreshes, there is a
spare, into which the refresh may write instead of copying the published file. It missed the refreshes of a few hours.
Once, to compare, it missed as many refreshes of 10,000 events.

`python -m benchmarks.warehouse --events 50000000` builds one more history, which `make bench` has no time for, and says
what an event of it costs beside one of the longest of the others.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Run, Verdict, Work, at_most, keep_to_cores

FULL = "full build of"
COPIED = "bytes copied"

# The longest history of `make bench`.
LONGEST = 10_000_000

# DuckDB keeps to 1.8 GB by default; Python and what DuckDB does not count come on top.
PEAK_GB = 2.3


def full(*, scratch: Path, home: str) -> Work:
    from benchmarks import data
    from pipelines.home.layout import Home
    from pipelines.warehouse.build import build

    data.linked(Path(home), scratch / "home")

    def work() -> dict[str, float]:
        report = build(Home(scratch / "home"), data.BUILD_OPTIONS, full_refresh=True)
        return {"count": report.tables["stg_embed_events"], **report.seconds}

    return work


def refresh(*, scratch: Path, home: str, news: str) -> Work:
    from benchmarks import data
    from pipelines.flatten.days import FlattenOptions, flatten_days
    from pipelines.home.layout import Home
    from pipelines.warehouse.build import build
    from pipelines.warehouse.models import load_models
    from pipelines.warehouse.spare import spare_file

    grown = Home(data.linked(Path(home), scratch / "home"))
    if spare_file(grown).exists():
        data.with_own_files(grown)
    before = _staged(grown)
    data.add_news(Path(news), grown.root)
    # As in a run: Dagster has read the models by then.
    load_models()

    def work() -> dict[str, float]:
        import time

        started = time.perf_counter()
        flatten_days(grown, FlattenOptions())
        flattened = time.perf_counter() - started
        report = build(grown, data.BUILD_OPTIONS)
        assert not report.is_full, report.full_reason
        count = report.tables["stg_embed_events"] - before
        return {"count": count, COPIED: report.copied_bytes, "flatten": flattened, **report.seconds}

    return work


def _staged(home: object) -> int:
    from pipelines.home.layout import Home
    from pipelines.warehouse.published import connect_published

    assert isinstance(home, Home)
    with connect_published(home) as connection:
        return connection.execute("select count(*) from stg_embed_events").fetchall()[0][0]


def _phases(told: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {seconds:.2f}" for name, seconds in told.items() if name not in ("count", COPIED) and seconds >= 0.005
    )


def full_builds(sizes: Sequence[int], block_events: int, rounds: int) -> Contest:
    """Full builds of histories of these sizes."""
    from benchmarks import data

    return Contest(
        [
            Contestant(_full(size), "benchmarks.warehouse:full", {"home": data.history(size, block_events) / "home"})
            for size in sizes
        ],
        rounds,
    )


def _full(size: int) -> str:
    return f"{FULL} {size:,} events"


def _per_million(run: Run) -> float:
    return 1e6 * run.cpu_seconds / run.told["count"]


def _built(builds: Contest, sizes: Sequence[int]) -> tuple[list[list[str]], list[Verdict]]:
    """The table of full builds; verdicts on the cost per event and the peak memory of the largest."""
    columns: dict[str, Callable[[Run], str]] = {
        "CPU s per million": lambda run: f"{_per_million(run):.2f}",
        "phases": lambda run: _phases(run.told),
    }
    largest, before = _full(sizes[-1]), _full(sizes[-2])
    peak = max(run.peak_bytes for run in builds.runs[largest]) / 1e9
    return builds.table("events", columns), [
        at_most(
            f"warehouse, an event in the full build of {sizes[-1]:,} over one of {sizes[-2]:,}, CPU",
            builds.ratio(largest, before, _per_million),
            1.3,
        ),
        at_most(f"warehouse, peak memory of the full build of {sizes[-1]:,} events", peak, PEAK_GB, " GB"),
    ]


def answer(
    *, blocks: tuple[int, ...] = (1, 10, 100), block_events: int = 100_000, rounds: int = 5, full_rounds: int = 1
) -> Answer:
    from benchmarks import data

    sizes = [count * block_events for count in blocks]
    table, verdicts = _built(full_builds(sizes, block_events, full_rounds), sizes)
    folders = [data.steady(size, block_events) for size in sizes]
    names = [f"refresh on {size:,} events" for size in sizes]
    after_large = f"{names[-1]}, after {data.MISSED} as large"
    large = data.steady(sizes[-1], block_events, block_events // data.NEWS_SHARE)
    refreshes = Contest(
        [
            Contestant(name, "benchmarks.warehouse:refresh", {"home": folder / "home", "news": folder / "news"})
            for name, folder in zip([*names, after_large], [*folders, large], strict=True)
        ],
        rounds,
    )
    others: dict[str, Callable[[Run], str]] = {
        COPIED: lambda run: f"{run.told[COPIED]:,.0f}",
        "phases": lambda run: _phases(run.told),
    }
    grown = refreshes.ratio(names[-1], names[0], lambda run: run.seconds)
    grown_cpu = refreshes.ratio(names[-1], names[0], lambda run: run.cpu_seconds)
    return Answer(
        [table, refreshes.table("events", others)],
        [*verdicts, at_most(f"warehouse, refresh on {sizes[-1]:,} events over the one on {sizes[0]:,}", grown, 1.5)],
        [f"The ratio leaves nothing out. In CPU seconds it is {grown_cpu:.2f}."],
    )


SMALL = {"blocks": (1, 2), "block_events": 1_000, "rounds": 1}


def main() -> None:
    """Print the full build of a longer history beside that of LONGEST events."""
    from benchmarks.__main__ import section
    from benchmarks.data import BLOCK_EVENTS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.warehouse", description=main.__doc__)
    parser.add_argument("--events", type=int, required=True, help=f"a multiple of {BLOCK_EVENTS:,}")
    events: int = parser.parse_args().events
    if events <= 0 or events % BLOCK_EVENTS:
        parser.error(f"--events {events} is not a multiple of {BLOCK_EVENTS:,}")
    keep_to_cores()
    sizes = [LONGEST, events]
    table, verdicts = _built(full_builds(sizes, BLOCK_EVENTS, 1), sizes)
    print("\n".join(section("warehouse", Answer([table], verdicts))))
    print("\n".join(map(str, verdicts)))


if __name__ == "__main__":
    main()
