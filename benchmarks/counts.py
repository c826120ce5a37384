"""(9) What machines do not move: what a refresh asks, opens, runs, reads and writes, counted and not timed.

A refresh runs on a history and on ten times that history, and a refresh that finds nothing knows embeds and ten times
as many. LIMITS says what each may cost, and how many times as much after ten times the history. CI holds the limits, so
that a cost that grows is seen without a clock.
"""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contest import Answer, Contestant, Run, Verdict, Work, run_once

NEWS, IDLE = "refresh with news", "refresh without news"
TIMES = 10
DAYS = 3


class Limit(NamedTuple):
    """The most that a refresh may cost on the shorter history, and the most that the longer one may multiply it by."""

    most: float
    growth: float


# A limit is raised together with the reason why, in the message of the commit.
LIMITS: Mapping[str, Mapping[str, Limit]] = {
    NEWS: {
        "files opened": Limit(80, 1.2),
        "statements": Limit(720, 1.1),
        "megabytes read": Limit(25, 2),
        "megabytes written": Limit(15, 1.3),
        "megabytes copied": Limit(0, 1),
    },
    IDLE: {
        "requests": Limit(50, 1.5),
        "files opened": Limit(60, 1.2),
        "SQLite databases opened": Limit(3, 1),
        "statements": Limit(720, 1.1),
        "megabytes read": Limit(15, 1.5),
        "megabytes written": Limit(8, 1.3),
        "megabytes copied": Limit(0, 1),
    },
}


@dataclass
class Counts:
    """What this process has done since counting began."""

    home: str
    is_counting: bool = True
    told: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, name: str, count: float = 1) -> None:
        self.told[name] = self.told.get(name, 0) + count

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an audit event of Python's: https://docs.python.org/3/library/audit_events.html."""
        if self.is_counting and event == "open" and str(arguments[0]).startswith(self.home):
            self.add("files opened")
        elif self.is_counting and event == "sqlite3.connect":
            self.add("SQLite databases opened")


class _CountingConnection:
    """A DuckDB connection that counts the statements that it runs."""

    def __init__(self, connection: Any, counts: Counts) -> None:
        self._connection, self._counts = connection, counts

    def execute(self, *arguments: Any) -> Any:
        self._counts.add("statements")
        return self._connection.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


@contextmanager
def counting(home: Path) -> Generator[Counts]:
    """Count what is done with a home until the context ends.

    Files are those that Python opens below the home. Bytes are those of all read and write calls of this process, those
    of DuckDB and Polars included (proc(5): rchar and wchar).
    """
    import duckdb

    counts, connect = Counts(str(home)), duckdb.connect

    def counted_connect(*arguments: Any, **others: Any) -> Any:
        return _CountingConnection(connect(*arguments, **others), counts)

    # It cannot be removed; the process ends soon.
    sys.addaudithook(counts.hear)
    duckdb.connect = counted_connect
    before = _bytes()
    try:
        yield counts
    finally:
        counts.is_counting, duckdb.connect = False, connect
    after = _bytes()
    counts.add("megabytes read", (after["rchar"] - before["rchar"]) / 1e6)
    counts.add("megabytes written", (after["wchar"] - before["wchar"]) / 1e6)


def _bytes() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def refresh(*, scratch: Path, home: str, news: str) -> Work:
    """`benchmarks.warehouse:refresh`, counted."""
    from benchmarks import warehouse

    work = warehouse.refresh(scratch=scratch, home=home, news=news)

    def counted() -> Mapping[str, float]:
        with counting(scratch / "home") as counts:
            told = work()
        return {"count": told["count"], "megabytes copied": told[warehouse.COPIED] / 1e6, **counts.told}

    return counted


def idle(*, scratch: Path, url: str, api_key: str, now: str) -> Work:
    """The steps of a refresh that comes at the same moment as the one before it, which found everything."""
    from pydantic import SecretStr

    from pipelines import steps
    from pipelines.poll.report import SweepRequest
    from pipelines.settings import Settings

    settings = Settings.defaults(
        oneschema_api_url=url,
        oneschema_api_key=SecretStr(api_key),
        embed_analytics_home=scratch / "home",
        embed_analytics_keep_warehouses=0,
    )

    def run() -> tuple[int, int]:
        asked = steps.sweep(
            settings, SweepRequest("refresh"), on_wait=print, clock=lambda: datetime.fromisoformat(now)
        ).request_count
        steps.flatten(settings, on_wait=print)
        return asked, steps.publish(settings, on_wait=print).copied_bytes

    # The second build copies the first one's file, and leaves that as the spare.
    run()
    run()

    def counted() -> Mapping[str, float]:
        with counting(scratch / "home") as counts:
            asked, copied = run()
        return {"count": 1, "requests": asked, "megabytes copied": copied / 1e6, **counts.told}

    return counted


def answer(*, block_events: int = 10_000, embeds: int = 100) -> Answer:
    from benchmarks import data, steady_hour
    from benchmarks.server import simulator
    from pipelines.home.times import EPOCH
    from pipelines.simulator.options import DEFAULT_NOW

    sizes = (1, TIMES)
    folders = [data.steady(size * block_events, block_events) for size in sizes]
    with_news = [
        run_once(Contestant(NEWS, "benchmarks.counts:refresh", {"home": each / "home", "news": each / "news"}))
        for each in folders
    ]
    without: list[Run] = []
    for size in sizes:
        # As many sessions a day, and so as many that are open.
        with simulator(**steady_hour.account_of(size * embeds, size * DAYS)) as account:
            asked = {
                "url": account.url,
                "api_key": account.api_key,
                "now": (EPOCH + timedelta(seconds=DEFAULT_NOW)).isoformat(),
            }
            without.append(run_once(Contestant(IDLE, "benchmarks.counts:idle", asked)))

    rows = [["", "first", "at most", f"after {TIMES} times as much", "times", "at most"]]
    verdicts: list[Verdict] = []
    for name, (first, later) in {NEWS: with_news, IDLE: without}.items():
        kept = 0
        for counted, limit in LIMITS[name].items():
            few, many = first.told.get(counted, 0), later.told.get(counted, 0)
            growth = many / few if few else 1 + many
            is_kept = few <= limit.most and growth <= limit.growth
            kept += is_kept
            told = [f"{few:.4g}", f"{limit.most:g}", f"{many:.4g}", f"{growth:.2f}", f"{limit.growth:g}"]
            rows.append([f"{name}: {counted}" if is_kept else f"{name}: **{counted}**", *told])
        of = len(LIMITS[name])
        verdicts.append(Verdict(f"{name}, counts within their limits", f"{kept} of {of}", "all", kept == of))
    news_events = block_events // data.NEWS_SHARE
    return Answer(
        [rows],
        verdicts,
        [
            f"A {NEWS} brings {news_events:,} events, after {block_events:,} and after {TIMES * block_events:,}.",
            f"Before a {IDLE}, {embeds:,} and {TIMES * embeds:,} embeds are known.",
            "What exceeds its limit is bold.",
        ],
    )


SMALL: Mapping[str, Any] = {"block_events": 1_000, "embeds": 10}
