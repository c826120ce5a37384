"""`python -m benchmarks [question ...] [--small] [--page FILE]`: ask the questions, all of them by default, and print
their answers as one page; `--page` also puts it between the marks in FILE."""

import argparse
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

from benchmarks.contest import CORES, Answer, keep_to_cores

QUESTIONS = {
    "flatten": "Raw to lake",
    "first_backfill": "A first backfill over HTTP",
    "steady_hour": "A steady hour",
    "warehouse": "The warehouse",
    "dagster": "Dagster",
    "queries": "Analyst queries",
    "analysis": "Macros of analysis",
    "page": "The page",
    "pack": "An evidence pack",
    "webhooks": "Webhooks",
    "time_spent": "Where the time goes",
    "growth": "Cost against growth",
    "sizing": "How much an account takes",
    "chain": "The chain",
    "verify": "Verifying",
    "encryption": "Encrypted claims",
    "counts": "What machines do not move",
}

BEGIN, END = "<!-- begin: printed by make bench -->", "<!-- end: printed by make bench -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="question", help=", ".join(QUESTIONS))
    parser.add_argument("--small", action="store_true", help="a small version of each: shows that it runs, no more")
    parser.add_argument("--page", type=Path, help="a file with the marks; what is between them is replaced")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.questions if name not in QUESTIONS]:
        parser.error(f"there is no question {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    keep_to_cores()
    started = time.monotonic()
    answers: dict[str, Answer] = {}
    for name in arguments.questions or QUESTIONS:
        module = import_module(f"benchmarks.{name}")
        answers[name] = module.answer(**(module.SMALL if arguments.small else {}))
        print("\n".join(section(name, answers[name])), flush=True)
    page = "\n".join([*head(time.monotonic() - started, answers), *(summary(answers))])
    print(page)
    if arguments.page:
        sections = "\n".join(line for name, found in answers.items() for line in section(name, found, arguments.page))
        write(arguments.page, f"{page}\n{sections}")


def head(seconds: float, answers: dict[str, Answer]) -> list[str]:
    """When, where and with what."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("polars", "duckdb", "dagster", "httpx", "pyarrow"))
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.1f} minutes for {len(answers)} questions, on "
        f"{min(CORES, os.cpu_count() or 1)} of {os.cpu_count()} cores ({_processor()}), "
        f"{_memory_gb():.0f} GB, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{libraries}.",
        "",
    ]


def summary(answers: dict[str, Answer]) -> Iterator[str]:
    """Every figure that has a target."""
    rows = [
        [verdict.figure, verdict.value, verdict.target, "met" if verdict.is_met else "**missed**"]
        for found in answers.values()
        for verdict in found.verdicts
    ]
    if rows:
        yield _table([["figure", "measured", "target", ""], *rows])


def section(name: str, found: Answer, page: Path | None = None) -> Iterator[str]:
    """One question's answer. Its picture is put beside the page."""
    yield f"\n### {QUESTIONS[name]}\n"
    for table in found.tables:
        yield f"{_table(table)}\n"
    yield from (f"- {remark}" for remark in found.remarks)
    if found.picture and page:
        (page.parent / f"{name}.svg").write_text(found.picture, encoding="utf-8")
        yield f"\n![{QUESTIONS[name]}]({name}.svg)"


def write(page: Path, text: str) -> None:
    """Put the text between the marks."""
    before = page.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not marked.search(before):
        raise SystemExit(f"{page} lacks the marks {BEGIN} and {END}")
    page.write_text(marked.sub(lambda _: f"{BEGIN}\n{text}\n{END}", before), encoding="utf-8")


def _table(rows: Sequence[Sequence[str]]) -> str:
    align = ("left", *("right" for _ in rows[0][1:]))
    return tabulate(rows[1:], headers=rows[0], tablefmt="pipe", colalign=align, disable_numparse=True)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="utf-8"))):
        return found[1]
    return platform.processor() or "unknown"


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


if __name__ == "__main__":
    main()
