"""(14) The evidence pack of one session, from the command's question to the zip on disk; and verify.py on that pack.

The session is the oldest of the history. The chain has gone on for a year of hourly refreshes since.
"""

from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Work, at_most

PACK, VERIFY = "evidence", "verify.py"
LIMIT_SECONDS = 2.0
HOURS_OF_A_YEAR = 8_760

# What an hourly refresh lands at least: events of two dates, embeds, the sweep.
_LINKS_OF_A_REFRESH = 4


def chained(events: int, block_events: int, refreshes: int) -> Path:
    """A folder with `home`: that of `history`, with a chain that begins with its files and goes on for so many
    refreshes. Their links are of files that are not there: a pack asks only for those of its session's files."""
    import hashlib
    import shutil

    from benchmarks import data
    from pipelines.chain import chain
    from pipelines.home.layout import Home
    from pipelines.raw.landing import begin_chain

    def make(folder: Path) -> None:
        home = Home(data.linked(data.history(events, block_events) / "home", folder / "home"))
        shutil.rmtree(home.raw_chain)
        begin_chain(home, lambda _: None)
        for refresh in range(refreshes):
            facts = [
                {
                    "path": f"raw/embed_events/event_date=2027-01-01/{refresh:08}-{file}.parquet",
                    "rows": 1_000,
                    "root": hashlib.sha256(f"root {refresh} {file}".encode()).hexdigest(),
                    "bytes": 40_000,
                    "sha256": hashlib.sha256(f"file {refresh} {file}".encode()).hexdigest(),
                    "sweep": f"{refresh:08}",
                }
                for file in range(_LINKS_OF_A_REFRESH)
            ]
            chain.append(home, [("landed", each) for each in facts])

    return data.kept(f"pack-{events}-{block_events}-{refreshes}", make)


def _packed(home: str, scratch: Path) -> Work:
    import polars as pl

    from benchmarks import data
    from pipelines.evidence.pack import write_pack
    from pipelines.raw.held import raw_event_files

    copy = data.linked(Path(home), scratch / "home")
    settings = data.BUILD_OPTIONS.settings.model_copy(update={"embed_analytics_home": copy})
    oldest = pl.read_parquet(raw_event_files(settings.home)[0], columns=["embed_id"], hive_partitioning=False)
    embed_id = int(oldest["embed_id"][0])
    path = scratch / "session.zip"

    def work() -> dict[str, float]:
        pack = write_pack(settings, embed_id, path, "benchmark", lambda _: None)
        return {"count": pack.row_count, "megabytes": path.stat().st_size / 1e6, "links": pack.head.count}

    return work


def made(*, scratch: Path, home: str) -> Work:
    return _packed(home, scratch)


def verified(*, scratch: Path, home: str) -> Work:
    from pipelines.evidence.pack_verifier import read_members, verify

    told = _packed(home, scratch)()

    def work() -> dict[str, float]:
        verify(read_members(str(scratch / "session.zip")))
        return dict(told)

    return work


def answer(
    *, blocks: int = 100, block_events: int = 100_000, refreshes: int = HOURS_OF_A_YEAR, rounds: int = 3
) -> Answer:
    events = blocks * block_events
    arguments = {"home": chained(events, block_events, refreshes) / "home"}
    contest = Contest(
        [
            Contestant(PACK, "benchmarks.pack:made", arguments),
            Contestant(VERIFY, "benchmarks.pack:verified", arguments),
        ],
        rounds,
    )
    seconds = contest.median(PACK, lambda run: run.seconds)
    return Answer(
        [
            contest.table(
                "rows",
                {"MB": lambda run: f"{run.told['megabytes']:.2f}", "links": lambda run: f"{run.told['links']:.0f}"},
            )
        ],
        [at_most(f"evidence pack of a session of {events:,} events", seconds, LIMIT_SECONDS, " s")],
    )


SMALL = {"blocks": 1, "block_events": 1_000, "refreshes": 10, "rounds": 1}
