"""(4) The warehouse: a full build, and what a refresh costs on top of short and long histories.

A refresh flattens and builds what 10,000 landed events changed: most of them are new, some are late, and so are the
embeds that they belong to. A longer history is more days and not fuller ones. As between any two refreshes, there is a
spare, into which the refresh may write instead of copying the published file. It missed the refreshes of a few hours.
Once, to compare, it missed as many refreshes of 10,000 events.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Run, Work, at_most

FULL = "full build"
COPIED = "bytes copied"


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
    data.linked(Path(news), grown.root)
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


def answer(
    *, blocks: tuple[int, ...] = (1, 10, 100), block_events: int = 100_000, rounds: int = 5, full_rounds: int = 1
) -> Answer:
    from benchmarks import data

    sizes = [count * block_events for count in blocks]
    last = data.history(sizes[-1], block_events)
    folders = [data.steady(size, block_events) for size in sizes]
    whole = Contest(
        [Contestant(f"{FULL}, {sizes[-1]:,} events", "benchmarks.warehouse:full", {"home": last / "home"})],
        full_rounds,
    )
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
    phases: dict[str, Callable[[Run], str]] = {"phases": lambda run: _phases(run.told)}
    others: dict[str, Callable[[Run], str]] = {
        COPIED: lambda run: f"{run.told[COPIED]:,.0f}",
        **phases,
    }
    grown = refreshes.ratio(names[-1], names[0], lambda run: run.seconds)
    grown_cpu = refreshes.ratio(names[-1], names[0], lambda run: run.cpu_seconds)
    return Answer(
        [whole.table("events", phases), refreshes.table("events", others)],
        [at_most(f"warehouse, refresh on {sizes[-1]:,} events over the one on {sizes[0]:,}", grown, 1.5)],
        [f"The ratio leaves nothing out. In CPU seconds it is {grown_cpu:.2f}."],
    )


SMALL = {"blocks": (1, 2), "block_events": 1_000, "rounds": 1}
