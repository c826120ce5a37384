"""How long `embed-analytics verify` takes: the chain, every byte of raw, every day flattened again and held against the
lake, every staged row held against the lake. It reads what the disk's cache has, as the other questions do."""

from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Work, at_most

VERIFY = "verify"
LIMIT_SECONDS = 60.0


def verified(*, scratch: Path, home: str, events: int) -> Work:
    from benchmarks import data
    from pipelines.evidence.verify import verify

    settings = data.BUILD_OPTIONS.settings.model_copy(update={"embed_analytics_home": Path(home)})

    def work() -> dict[str, float]:
        checked = verify(settings).checked
        # A part that was not compared would make the figure too small.
        assert not checked.findings, checked.findings[0]
        assert not checked.waiting, checked.waiting[0]
        raw = sum(path.stat().st_size for path in Path(home).glob("raw/**/*.parquet"))
        return {"count": events, "MB of raw": raw / 1e6}

    return work


def answer(*, blocks: int = 100, block_events: int = 100_000, rounds: int = 1) -> Answer:
    from benchmarks import data

    events = blocks * block_events
    home = data.history(events, block_events) / "home"
    contest = Contest([Contestant(VERIFY, "benchmarks.verify:verified", {"home": str(home), "events": events})], rounds)
    seconds = contest.median(VERIFY, lambda run: run.seconds)
    return Answer(
        [contest.table("events", {"MB of raw": lambda run: f"{run.told['MB of raw']:,.0f}"})],
        [at_most(f"verify of {events:,} events", seconds, LIMIT_SECONDS, " s")],
    )


SMALL = {"blocks": 2, "block_events": 1_000, "rounds": 1}
