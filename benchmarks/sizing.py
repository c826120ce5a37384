"""How much room, time and memory an account takes: bytes of an event in each layer, seconds of each step.

The histories are those of `flatten` and `warehouse`, and are made once. Landing is the webhook journal's way into raw:
what a poll adds to it is waiting for the API (`first_backfill`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contest import Answer, Contest, Contestant, Work

LANDING, FLATTEN, FULL, REFRESH = "landing", "flatten", "full build", "refresh"

# Landing is asked for a fifth of the events: what an event of it takes does not grow with their number.
LANDING_SHARE = 5

_LINES_PER_SEGMENT = 50_000
_STATE_BYTES = "bytes of state"


def landing(*, scratch: Path, lines: str, events: int, signing_key: Path | None = None) -> Work:
    """Journal segments of so many events become raw."""
    from itertools import islice

    import orjson

    from pipelines.home.layout import Home
    from pipelines.home.times import micros, utc_now
    from pipelines.oneschema.tokens import TokenReader
    from pipelines.poll.opening import open_state
    from pipelines.webhooks.ingest import ingest_journal
    from pipelines.webhooks.records import encode
    from pipelines.webhooks.segments import SUFFIX

    home, tokens = Home(scratch / "home", signing_key=signing_key), TokenReader({}, {}, None)
    home.webhook_journal.mkdir(parents=True)
    received_at = micros(utc_now())
    with Path(lines).open("rb") as file:
        taken = islice(file, events)
        for number in range(-(-events // _LINES_PER_SEGMENT)):
            segment = home.webhook_journal / f"{number:06}{SUFFIX}"
            with segment.open("wb") as target:
                for line in islice(taken, _LINES_PER_SEGMENT):
                    target.write(encode(orjson.loads(line), received_at, tokens))

    def work() -> dict[str, float]:
        with open_state(home) as state:
            report = ingest_journal(home, state.connection, tokens, None, lambda _: None)
        return {"count": report.landed_event_count, _STATE_BYTES: _bytes_of(home.state)}

    return work


def answer(*, events: int = 1_000_000, block_events: int = 500_000, rounds: int = 1) -> Answer:
    from benchmarks import data
    from pipelines.home.layout import Home

    folder = data.history(events, block_events)
    home = Home(folder / "home")
    lines = data.lines(events, block_events)
    contest = Contest(
        [
            Contestant(
                LANDING, "benchmarks.sizing:landing", {"lines": lines, "events": max(events // LANDING_SHARE, 1)}
            ),
            Contestant(FLATTEN, "benchmarks.flatten:ours", {"home": home.root}),
            Contestant(FULL, "benchmarks.warehouse:full", {"home": home.root}),
            Contestant(REFRESH, "benchmarks.warehouse:refresh", {"home": home.root, "news": folder / "news"}),
        ],
        rounds,
    )
    landed = contest.runs[LANDING][0].told
    sizes = {
        "raw": _bytes_of(home.root / "raw") / events,
        "lake": _bytes_of(home.lake) / events,
        "state": landed[_STATE_BYTES] / landed["count"],
        "warehouse": home.warehouse.stat().st_size / events,
    }
    room = [
        ["", "bytes per event", "GB per 100,000,000 events"],
        *([name, f"{size:,.0f}", f"{size / 10:,.1f}"] for name, size in sizes.items()),
    ]
    time = [["", "events", "seconds", "CPU s", "CPU s per million", "peak MB"]]
    for name in contest.runs:
        count = contest.runs[name][0].told["count"]
        time.append(
            [
                name,
                f"{count:,.0f}",
                f"{contest.median(name, lambda run: run.seconds):.2f}",
                f"{contest.median(name, lambda run: run.cpu_seconds):.2f}",
                f"{contest.median(name, lambda run: 1e6 * run.cpu_seconds / run.told['count']):.1f}",
                f"{max(run.peak_bytes for run in contest.runs[name]) / 1e6:,.0f}",
            ]
        )
    return Answer(
        [room, time],
        [],
        [
            f"The history has {events:,} events of {block_events // data.BLOCK_DAYS:,} a day; the refresh adds its "
            "events to it, and copies the published file, as a first refresh does.",
            "A home holds the published file, those that are kept and the one that is being built.",
            "Peak memory is the process's own. A full build's is bounded by a setting, whatever the size.",
        ],
    )


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


SMALL: Mapping[str, Any] = {"events": 2_000, "block_events": 1_000}
