"""What it costs to encrypt claims: events received into the journal and landed, and flattened, with and without.

Receiving reads the tokens, so it is where claims are encrypted. A poll reads as many tokens, and waits for the API.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contest import Answer, Contest, Contestant, Verdict, Work, at_most

KEPT, ENCRYPTED = "as they are", "encrypted"
# Landing with encryption over landing without.
TARGET = 1.25

# What says who somebody is, in the simulated account's tokens.
POLICY = dict.fromkeys(("user_id", "email", "name"), "encrypt")

_LINES_PER_SEGMENT = 50_000


def landing(*, scratch: Path, lines: str, events: int, policy: dict[str, str]) -> Work:
    """So many events are read, written to the journal, and landed."""
    from itertools import islice

    import orjson

    from pipelines.home.files import fsync
    from pipelines.home.times import micros, utc_now
    from pipelines.oneschema.tokens import TokenReader
    from pipelines.poll.opening import open_state
    from pipelines.settings import Settings
    from pipelines.webhooks.ingest import ingest_journal
    from pipelines.webhooks.records import encode
    from pipelines.webhooks.segments import SUFFIX

    settings = Settings.defaults(embed_analytics_home=scratch / "home", embed_analytics_claim_policy=policy)
    home = settings.home
    home.webhook_journal.mkdir(parents=True)
    received_at = micros(utc_now())
    with Path(lines).open("rb") as file:
        bodies = list(islice(file, events))

    def work() -> dict[str, float]:
        tokens = TokenReader.from_settings(settings)
        for start in range(0, len(bodies), _LINES_PER_SEGMENT):
            segment = home.webhook_journal / f"{start:09}{SUFFIX}"
            with segment.open("wb") as target:
                for line in bodies[start : start + _LINES_PER_SEGMENT]:
                    target.write(encode(orjson.loads(line), received_at, tokens))
            tokens.flush_keys()
            fsync(segment)
        with open_state(home) as state:
            report = ingest_journal(home, state.connection, tokens, None, lambda _: None)
        raw = sum(path.stat().st_size for path in home.raw_embed_events.rglob("*.parquet"))
        return {"count": report.landed_event_count, "bytes": raw}

    return work


def flattening(*, scratch: Path, lines: str, events: int, policy: dict[str, str]) -> Work:
    """So many events that have landed become the lake."""
    from pipelines.flatten.days import FlattenOptions, flatten_days
    from pipelines.home.layout import Home

    landing(scratch=scratch, lines=lines, events=events, policy=policy)()
    home = Home(scratch / "home")

    def work() -> dict[str, float]:
        return {"count": flatten_days(home, FlattenOptions()).event_count}

    return work


def answer(*, events: int = 100_000, rounds: int = 5) -> Answer:
    from benchmarks import data

    lines = data.lines(events, events)
    tables: list[list[list[str]]] = []
    verdicts: list[Verdict] = []
    remarks: list[str] = []
    for step, work in (("received and landed", "landing"), ("flattened", "flattening")):
        contest = Contest(
            [
                Contestant(
                    f"{step}, claims {name}",
                    f"benchmarks.encryption:{work}",
                    {"lines": lines, "events": events, "policy": policy},
                )
                for name, policy in ((KEPT, {}), (ENCRYPTED, POLICY))
            ],
            rounds,
        )
        kept, encrypted = contest.runs
        ratio = contest.ratio(encrypted, kept, lambda run: run.cpu_seconds)
        tables.append(contest.table("events"))
        if work == "landing":
            verdicts.append(at_most("landing, CPU time with encrypted claims over the same without", ratio, TARGET))
            sizes = [contest.runs[name][0].told["bytes"] / contest.runs[name][0].told["count"] for name in contest.runs]
            remarks.append(f"Raw takes {sizes[0]:.0f} bytes per event, and {sizes[1]:.0f} with encrypted claims.")
        else:
            remarks.append(f"Flattening takes {ratio:.2f} times the CPU time with encrypted claims.")
    return Answer(tables, verdicts, [f"{', '.join(POLICY)} are encrypted.", *remarks])


SMALL: Mapping[str, Any] = {"events": 1_000, "rounds": 1}
