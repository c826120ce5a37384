"""Contestants take turns, each time in a process of its own; medians and ratios count.

Every figure compares runs of one contest, since what else a machine does changes from minute to minute. A ratio is the
median of the ratios of each round, whose runs stood next to each other.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / ".cache"

# The targets are for two cores. On a larger machine everything is kept to two of them.
CORES = 2

# Where what else is needed to compare is installed (the extra `bench`); `make bench` makes it.
OTHERS_PYTHON = CACHE / "others" / "bin" / "python"

# What a piece of work tells: how much it did (`count`), and whatever else is worth a column.
Told = Mapping[str, float]
Work = Callable[[], Told]


def others(module: str) -> Any:
    """A module that only OTHERS_PYTHON has; nothing is known of its types here."""
    return importlib.import_module(module)


@dataclass(frozen=True)
class Contestant:
    """Who takes part: `prepare` (module:function) is called in the run's own process with `arguments` and an empty
    folder `scratch`, and returns the work. The work alone is timed."""

    name: str
    prepare: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    python: Path = Path(sys.executable)


@dataclass(frozen=True)
class Run:
    """One run: seconds and CPU seconds of the work, peak memory of its process, and what the work told."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    told: Told

    @property
    def rate(self) -> float:
        """What was done per second."""
        return self.told["count"] / self.seconds


@dataclass(frozen=True)
class Verdict:
    """A figure that has a target."""

    figure: str
    value: str
    target: str
    is_met: bool

    def __str__(self) -> str:
        return f"{self.figure}: {self.value} (target: {self.target}){'' if self.is_met else ' MISSED'}"


@dataclass(frozen=True)
class Answer:
    """What came of a question: tables as lists of rows (the first is the heading), verdicts, remarks, and an SVG."""

    tables: Sequence[Sequence[Sequence[str]]]
    verdicts: Sequence[Verdict]
    remarks: Sequence[str] = ()
    picture: str | None = None


class Median(float):
    """The median of several figures, with the least and the greatest of them. It counts as the median."""

    least: float
    greatest: float

    def __new__(cls, figures: Iterable[float]) -> Self:
        found = sorted(figures)
        made = super().__new__(cls, median(found))
        made.least, made.greatest = found[0], found[-1]
        return made

    def scaled(self, factor: float) -> "Median":
        """All three, times a factor."""
        return Median((factor * self.least, factor * self, factor * self.greatest))

    def __format__(self, form: str) -> str:
        """The median, and behind it the spread where there is one: 1.49 (1.44 to 1.53)."""
        middle, least, greatest = (format(float(each), form) for each in (self, self.least, self.greatest))
        return middle if least == greatest else f"{middle} ({least} to {greatest})"


def at_most(figure: str, value: float, limit: float, unit: str = "") -> Verdict:
    """A verdict on a figure that should stay small."""
    return Verdict(figure, f"{value:.2f}{unit}", f"at most {limit:g}{unit}", value <= limit)


def at_least(figure: str, value: float, limit: float, unit: str = "") -> Verdict:
    """A verdict on a figure that should be large."""
    return Verdict(figure, f"{value:.2f}{unit}", f"at least {limit:g}{unit}", value >= limit)


class Contest:
    """The runs of some contestants, by name, one of each per round."""

    def __init__(self, contestants: Sequence[Contestant], rounds: int) -> None:
        self.runs: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
        for number in range(rounds):
            for contestant in contestants:
                run = run_once(contestant)
                self.runs[contestant.name].append(run)
                _say(f"round {number + 1} of {rounds}, {contestant.name}: {run.seconds:.2f} s")

    def median(self, name: str, figure: Callable[[Run], float]) -> Median:
        """The median of a figure over a contestant's runs."""
        return Median(map(figure, self.runs[name]))

    def ratio(self, name: str, other: str, figure: Callable[[Run], float]) -> Median:
        """The median over the rounds of one contestant's figure divided by the other's."""
        pairs = zip(self.runs[name], self.runs[other], strict=True)
        return Median(figure(run) / figure(beside) for run, beside in pairs)

    def table(self, unit: str, others: Mapping[str, Callable[[Run], str]] | None = None) -> list[list[str]]:
        """A row per contestant: its medians, of seconds and CPU seconds with their spread. `unit` names what `count`
        counts; `others` are columns taken from the run whose time is the median."""
        others = others or {}
        heading = ["", unit, "seconds", "CPU s", f"{unit} per s", "peak MB", *others]
        rows = [heading]
        for name, runs in self.runs.items():
            middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
            rows.append(
                [
                    name,
                    f"{middle.told['count']:,.0f}",
                    f"{self.median(name, lambda run: run.seconds):.2f}",
                    f"{self.median(name, lambda run: run.cpu_seconds):.2f}",
                    f"{float(self.median(name, lambda run: run.rate)):,.0f}",
                    f"{max(run.peak_bytes for run in runs) / 1e6:,.0f}",
                    *(told(middle) for told in others.values()),
                ]
            )
        return rows


def run_once(contestant: Contestant) -> Run:
    """Run a contestant in a process of its own. Raises RuntimeError, with what it printed, when it fails."""
    folder = CACHE / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, tempfile.TemporaryFile(dir=folder) as printed:
        command = [str(contestant.python), "-m", "benchmarks.contest", contestant.prepare, scratch]
        environment = {**os.environ, "POLARS_MAX_THREADS": str(CORES), "RUNTIME__DLTHUB_TELEMETRY": "false"}
        told = Path(scratch) / "run.json"
        process = subprocess.run(
            [*command, json.dumps(dict(contestant.arguments), default=str), str(told)],
            cwd=ROOT,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if process.returncode:
            printed.seek(0)
            text = printed.read().decode(errors="replace")
            raise RuntimeError(f"{contestant.name} failed with exit code {process.returncode}:\n{text}")
        return Run(**json.loads(told.read_text(encoding="utf-8")))


def keep_to_cores() -> None:
    """Keep this process, and those that it starts, to CORES cores where there are more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def installed(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Those whose Python is installed; of the others it is said that they are left out."""
    present = [contestant for contestant in contestants if contestant.python.exists()]
    for contestant in contestants:
        if contestant not in present:
            _say(f"{contestant.name} is left out: {contestant.python} is missing, `make bench` installs it")
    return present


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _peak_bytes() -> int:
    """Peak memory of this process. ru_maxrss would count the process that started it, before it became this one."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _run_here(prepare: str, scratch: str, arguments: str, told_to: str) -> None:
    module, _, function = prepare.partition(":")
    work: Work = getattr(importlib.import_module(module), function)(scratch=Path(scratch), **json.loads(arguments))
    cpu, started = _cpu_seconds(), time.perf_counter()
    told = work()
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    run = {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": _peak_bytes(), "told": dict(told)}
    Path(told_to).write_text(json.dumps(run), encoding="utf-8")


if __name__ == "__main__":
    _run_here(*sys.argv[1:])
