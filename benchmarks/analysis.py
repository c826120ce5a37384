"""(11) The macros of analysis on a published warehouse: over all of its sessions, and over 90 days.

Every file in sql/macros/ takes part. `from macro()` asks over all sessions, and `from_date` over the last days, unless
OTHERWISE says how to ask. The 1,000,000 events are those of 400 days, so that 90 of them are a part.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Answer, Contest, Contestant, Verdict

DAYS = 90
OVER_ALL, OVER_DAYS = "all", f"{DAYS} days"
LIMIT_SECONDS = {OVER_ALL: 2.0, OVER_DAYS: 0.5}

# What compares two periods is asked about the two halves of the days. Models are read as they are.
OTHERWISE: Mapping[str, Mapping[str, str]] = {
    "explain_change": {
        OVER_ALL: "from explain_change(before_from := date '{first}', before_to := date '{middle}', "
        "after_from := date '{second}', after_to := date '{last}', include_immature := true)",
        OVER_DAYS: f"from explain_change(period_days := {DAYS // 2})",
    },
    "rpt_stuck_embeds": {OVER_ALL: "from rpt_stuck_embeds"},
}


def questions(first: date, last: date) -> dict[tuple[str, str], str]:
    """The SQL by macro and by how much it is asked over, for sessions from one entry date to another."""
    from pipelines.warehouse.macros import macro_files

    by_default = {OVER_ALL: "from {name}()", OVER_DAYS: "from {name}(from_date := date '{from_date}')"}
    asked: dict[str, Mapping[str, str]] = {**{path.stem: by_default for path in macro_files()}, **OTHERWISE}
    middle, from_date = first + (last - first) // 2, last - timedelta(days=DAYS)
    halves = {"first": first, "middle": middle, "second": middle + timedelta(days=1), "last": last}
    return {
        (name, over): sql.format(name=name, from_date=from_date, **halves)
        for name, sqls in asked.items()
        for over, sql in sqls.items()
    }


def answer(*, blocks: int = 40, block_events: int = 25_000, rounds: int = 5) -> Answer:
    from benchmarks import data
    from pipelines.home.layout import Home
    from pipelines.warehouse.published import connect_published

    events = blocks * block_events
    home = data.history(events, block_events) / "home"
    with connect_published(Home(home)) as connection:
        ((first, last),) = connection.execute("select min(entry_date), max(entry_date) from fct_embeds").fetchall()
    asked = questions(first, last)
    contest = Contest([_contestant(about, home, sql) for about, sql in asked.items()], rounds)
    return Answer(
        [contest.table("rows")],
        [_verdict(contest, over, [name for name, each in asked if each == over], events) for over in LIMIT_SECONDS],
        [
            f"{events:,} events on {(last - first).days + 1} days; opening the file is part of each.",
            *(f"{_named(about)}: `{sql}`" for about, sql in asked.items()),
        ],
    )


def _contestant(about: tuple[str, str], home: Path, sql: str) -> Contestant:
    return Contestant(_named(about), "benchmarks.queries:on_warehouse", {"home": home, "sql": sql})


def _named(about: tuple[str, str]) -> str:
    return ", ".join(about)


def _verdict(contest: Contest, over: str, names: list[str], events: int) -> Verdict:
    seconds = {name: contest.median(_named((name, over)), lambda run: run.seconds) for name in names}
    slowest = max(seconds, key=lambda name: seconds[name])
    limit = LIMIT_SECONDS[over]
    span = f"all {events:,} events" if over == OVER_ALL else over
    return Verdict(
        f"analysis over {span}, the slowest of {len(names)}, {slowest}",
        f"{seconds[slowest]:.2f} s",
        f"at most {limit:g} s",
        seconds[slowest] <= limit,
    )


SMALL: Mapping[str, Any] = {"blocks": 2, "block_events": 1_000, "rounds": 1}
