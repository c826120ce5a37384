"""(4) The warehouse: a full build, and what a refresh costs on top of short and long histories.

A refresh flattens and builds what 10,000 landed events changed: most of them are new, some are late, and so are the
embeds that they belong to. A longer history is more days and not fuller ones. Copying the published file, which grows
with it, is told apart.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Run, Work, at_most

FULL = "full build"


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

    grown = Home(data.linked(Path(home), scratch / "home"))
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
        return {"count": report.tables["stg_embed_events"] - before, "flatten": flattened, **report.seconds}

    return work


def _staged(home: object) -> int:
    from pipelines.home.layout import Home
    from pipelines.warehouse.published import connect_published

    assert isinstance(home, Home)
    with connect_published(home) as connection:
        return connection.execute("select count(*) from stg_embed_events").fetchall()[0][0]


def _without_copy(run: Run) -> float:
    return run.seconds - run.told["copy"]


def _phases(told: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in told.items() if name != "count" and seconds >= 0.005)


def answer(
    *, blocks: tuple[int, ...] = (1, 10, 100), block_events: int = 100_000, rounds: int = 5, full_rounds: int = 1
) -> Answer:
    from benchmarks import data

    sizes = [count * block_events for count in blocks]
    folders = [data.history(size, block_events) for size in sizes]
    whole = Contest(
        [Contestant(f"{FULL}, {sizes[-1]:,} events", "benchmarks.warehouse:full", {"home": folders[-1] / "home"})],
        full_rounds,
    )
    names = [f"refresh on {size:,} events" for size in sizes]
    refreshes = Contest(
        [
            Contestant(name, "benchmarks.warehouse:refresh", {"home": folder / "home", "news": folder / "news"})
            for name, folder in zip(names, folders, strict=True)
        ],
        rounds,
    )
    phases: dict[str, Callable[[Run], str]] = {"phases": lambda run: _phases(run.told)}
    others: dict[str, Callable[[Run], str]] = {
        "of it copying": lambda run: f"{run.told['copy']:.2f}",
        **phases,
    }
    grown = refreshes.ratio(names[-1], names[0], _without_copy)
    return Answer(
        [whole.table("events", phases), refreshes.table("events", others)],
        [at_most(f"warehouse, refresh on {sizes[-1]:,} events over the one on {sizes[0]:,}", grown, 1.5)],
        ["The ratio leaves out copying the published file."],
    )


SMALL = {"blocks": (1, 2), "block_events": 1_000, "rounds": 1}
