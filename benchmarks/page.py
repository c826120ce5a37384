"""(13) The page of a published warehouse, from opening the file to the HTML on disk; and the same with people.

What draws the page is bundled once per machine and kept, which is not timed.
"""

from pathlib import Path

from benchmarks.contest import Answer, Contest, Contestant, Work, at_most

PAGE, WITH_PEOPLE = "page", "page with people"
LIMIT_SECONDS = 10.0
LIMIT_MEGABYTES = 5.0


def made(*, scratch: Path, home: str, with_people: bool) -> Work:
    from benchmarks import data
    from pipelines.report.page import write_page

    settings = data.BUILD_OPTIONS.settings.model_copy(update={"embed_analytics_home": Path(home)})
    path = scratch / "report.html"
    write_page(settings, path, with_people=with_people)

    def work() -> dict[str, float]:
        write_page(settings, path, with_people=with_people)
        return {"count": 1, "megabytes": path.stat().st_size / 1e6}

    return work


def answer(*, blocks: int = 100, block_events: int = 100_000, rounds: int = 3) -> Answer:
    from benchmarks import data

    events = blocks * block_events
    home = data.history(events, block_events) / "home"

    def maker(name: str, *, with_people: bool) -> Contestant:
        return Contestant(name, "benchmarks.page:made", {"home": home, "with_people": with_people})

    contest = Contest([maker(PAGE, with_people=False), maker(WITH_PEOPLE, with_people=True)], rounds)
    seconds = contest.median(PAGE, lambda run: run.seconds)
    size = contest.median(PAGE, lambda run: run.told["megabytes"])
    return Answer(
        [contest.table("pages", {"MB": lambda run: f"{run.told['megabytes']:.2f}"})],
        [
            at_most(f"page of {events:,} events", seconds, LIMIT_SECONDS, " s"),
            at_most(f"page of {events:,} events, size", size, LIMIT_MEGABYTES, " MB"),
        ],
    )


SMALL = {"blocks": 1, "block_events": 1_000, "rounds": 1}
