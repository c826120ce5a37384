"""(8) Where the time goes: profiles of flattening, of a refresh with news, and of one without, from command to exit.

Seconds of a function include those of what it calls, and a profiled run is slower than others: shares count. Polars and
DuckDB work in threads of their own while the function that asked them waits.
"""

import os
import pstats
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.contest import ROOT, Answer, Contestant, Work, run_once

SHOWN = 12
_PACKAGES = ("pipelines", "assets")
_IMPORTS = "importing modules"


def profiled(*, scratch: Path, prepare: str, arguments: Mapping[str, Any]) -> Work:
    """Another contestant's work under the profiler: `count` is what it told, the others are seconds by function."""
    import cProfile
    import threading

    module, _, function = prepare.partition(":")
    work: Work = getattr(import_module(module), function)(scratch=scratch, **arguments)
    profilers: list[cProfile.Profile] = []

    def begin(*_: object) -> None:
        profilers.append(cProfile.Profile())
        profilers[-1].enable()

    def run() -> Mapping[str, float]:
        # The first call in each new thread begins a profile of that thread.
        threading.setprofile(begin)
        begin()
        count = work()["count"]
        profilers[0].disable()
        threading.setprofile(None)
        return {"count": count, **_seconds(profilers)}

    return run


def _seconds(profilers: list[Any]) -> dict[str, float]:
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = vars(pstats.Stats(*profilers))["stats"]
    seconds: dict[str, float] = {}
    for (file, _, function), (_, _, _, cumulative, _) in stats.items():
        if function == "_find_and_load":
            seconds[_IMPORTS] = cumulative
        path = Path(file)
        if not function.startswith("<") and any(path.is_relative_to(ROOT / package) for package in _PACKAGES):
            name = f"{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}.{function}"
            seconds[name] = max(seconds.get(name, 0), cumulative)
    return seconds


def empty_refresh(*, scratch: Path, url: str, api_key: str) -> Work:
    os.environ |= {"ONESCHEMA_API_URL": url, "ONESCHEMA_API_KEY": api_key, "EMBED_ANALYTICS_HOME": str(scratch)}
    subprocess.run([sys.executable, "-m", "pipelines", "refresh"], check=True)

    def work() -> Mapping[str, float]:
        from pipelines.terminal.cli import app

        app(["refresh"], standalone_mode=False)
        return {"count": 0}

    return work


def answer(*, blocks: int = 10, block_events: int = 100_000, embeds: int = 300) -> Answer:
    from benchmarks import data
    from benchmarks.server import simulator

    folder = data.history(blocks * block_events, block_events)
    home, news = str(folder / "home"), str(folder / "news")
    with simulator(embeds=embeds) as account:
        asked = {"url": account.url, "api_key": account.api_key}
        looks = {
            "flatten": ("benchmarks.flatten:ours", {"home": home}),
            "refresh with news": ("benchmarks.warehouse:refresh", {"home": home, "news": news}),
            "refresh, nothing new": ("benchmarks.time_spent:empty_refresh", asked),
        }
        tables = [
            _table(name, Contestant(name, "benchmarks.time_spent:profiled", {"prepare": prepare, "arguments": given}))
            for name, (prepare, given) in looks.items()
        ]
    return Answer(tables, [])


def _table(name: str, contestant: Contestant) -> list[list[str]]:
    run = run_once(contestant)
    by_seconds = sorted(((seconds, what) for what, seconds in run.told.items() if what != "count"), reverse=True)
    heading = [f"{name}: {run.seconds:.2f} s, profiled", "seconds", "share"]
    return [heading, *([what, f"{s:.2f}", f"{s / run.seconds:.0%}"] for s, what in by_seconds[:SHOWN])]


SMALL = {"blocks": 2, "block_events": 1_000, "embeds": 20}
