"""What the chain adds to landing, which here is the webhook journal's way into raw: digests and links of its files.

Nothing but landing is in it: what a poll adds is waiting for the API. `without` writes the same files.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Work, at_most

WITH, SIGNED, WITHOUT = "landing", "landing, signed", "landing without a chain"


def landing(*, scratch: Path, lines: str, events: int, is_signed: bool = False) -> Work:
    """Events of the journal become raw."""
    import subprocess

    from benchmarks import sizing

    key = scratch / "key.pem" if is_signed else None
    if key is not None:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    return sizing.landing(scratch=scratch, lines=lines, events=events, signing_key=key)


def without(*, scratch: Path, lines: str, events: int) -> Work:
    """The same as it was before there was a chain."""
    from typing import Any

    from polars import DataFrame

    from benchmarks import sizing
    from pipelines.chain import chain
    from pipelines.chain.links import EMPTY, Head
    from pipelines.raw import landing as of_raw
    from pipelines.webhooks import ingest

    def no_facts(*_: Any) -> dict[str, Any]:
        return {}

    def no_links(*_: Any) -> Head:
        return EMPTY

    def no_roots(frames: Sequence[DataFrame]) -> list[str]:
        return [""] * len(frames)

    of_raw.file_facts = no_facts
    of_raw.roots_of = no_roots
    ingest.sha256_of = no_facts
    chain.append = no_links
    return sizing.landing(scratch=scratch, lines=lines, events=events)


def answer(*, events: int = 200_000, block_events: int = 100_000, rounds: int = 5) -> Answer:
    from benchmarks import data

    lines = data.lines(events, block_events)
    arguments = {"lines": lines, "events": events}
    contest = Contest(
        [
            Contestant(WITH, "benchmarks.chain:landing", arguments),
            Contestant(SIGNED, "benchmarks.chain:landing", {**arguments, "is_signed": True}),
            Contestant(WITHOUT, "benchmarks.chain:without", arguments),
        ],
        rounds,
    )
    cost = contest.ratio(WITH, WITHOUT, lambda run: run.cpu_seconds)
    return Answer(
        [contest.table("events")],
        [at_most("landing with the chain, CPU time over landing without", cost, 1.1)],
    )


SMALL = {"events": 1_000, "block_events": 1_000, "rounds": 1}
