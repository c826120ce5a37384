"""(3) An hour of a large account's life: a refresh that asks what may have news, beside asking every embed.

The account has run for a year and every embed was polled by the frontier's rule since it began, up to an hour ago. Both
start from the same state and ask the same server. Of asking for every embed a tenth is timed, which is made due.
"""

import asyncio
import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Answer, Contest, Contestant, Verdict, Work

REFRESH, EVERYTHING = "refresh", "a tenth of all embeds"
DAYS = 365
TENTH = 10
HOUR = timedelta(hours=1)


def sweep(*, scratch: Path, home: str, url: str, api_key: str, now: str, due: int = 0) -> Work:
    import shutil
    import sqlite3

    from pydantic import SecretStr

    from pipelines import steps
    from pipelines.poll.report import SweepRequest
    from pipelines.settings import Settings

    shutil.copytree(home, scratch / "home")
    with sqlite3.connect(scratch / "home" / "state" / "poll.sqlite") as state:
        first = "select embed_id from embeds order by embed_id limit ?"
        state.execute(f"update embeds set due_at = 0 where embed_id in ({first})", (due,))
    state.close()
    settings = Settings.defaults(
        oneschema_api_url=url,
        oneschema_api_key=SecretStr(api_key),
        embed_analytics_home=scratch / "home",
    )

    def run() -> dict[str, float]:
        clock = datetime.fromisoformat(now)
        report = steps.sweep(settings, SweepRequest("refresh"), on_wait=print, clock=lambda: clock)
        assert report.is_complete, report.failures
        return {"count": report.request_count, "asked": report.fetched_count, "landed": report.landed_event_count}

    return run


def known(folder: Path, options: dict[str, Any]) -> None:
    """A home whose state knows every embed of the world, each polled by the rule; nothing of it in raw."""
    from benchmarks.server import simulator
    from pipelines.home.layout import Home
    from pipelines.home.times import EPOCH, micros
    from pipelines.oneschema.client import Connection, open_client
    from pipelines.oneschema.pace import Pace
    from pipelines.oneschema.tokens import TokenReader
    from pipelines.poll.frontier import FrontierRule
    from pipelines.poll.listing import list_embeds
    from pipelines.poll.opening import open_state
    from pipelines.poll.poll_state import Polled, PollState
    from pipelines.settings import Settings
    from pipelines.simulator.options import DEFAULT_NOW, SimulatorOptions
    from pipelines.simulator.simulation import Simulation

    home = Home(folder)
    now = EPOCH + timedelta(seconds=DEFAULT_NOW)

    async def walk_the_list(state: PollState, url: str, api_key: Any) -> None:
        async with open_client(Connection(url, api_key, 60, Pace())) as client:
            await list_embeds(
                client,
                state,
                home,
                TokenReader({}, {}, None),
                sweep_id="first",
                environment_name=None,
                clock=lambda: now,
                is_full=True,
            )

    simulation = Simulation(SimulatorOptions.model_validate(options))
    rule = FrontierRule.from_settings(Settings.defaults())

    def polled(embed_id: int) -> Polled:
        events = simulation.visible_events(embed_id)
        first, last = (EPOCH + timedelta(seconds=event.created_at) for event in (events[0], events[-1]))
        # The hourly sweep that first found it idle.
        asked = min(last + rule.idle_after + HOUR, now)
        while (due := rule.next_due_at(asked, last)) is not None and asked < due <= now:
            asked = due
        body = simulation.events(embed_id) or b""
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        return Polled(embed_id, micros(asked), micros(due) if due else None, micros(first), micros(last), digest)

    with simulator(**options) as account, open_state(home) as state:
        asyncio.run(walk_the_list(state, account.url, simulation.options.api_key))
        state.polled(map(polled, simulation.listed_ids()), "first")
        state.commit()


def account_of(embeds: int, days: int = DAYS) -> dict[str, Any]:
    """SimulatorOptions of an account that has had so many embeds in so many days."""
    return {"embeds": embeds, "days": days, "days_ahead": 1, "paging": "honoured", "list_order": "descending"}


def known_home(options: dict[str, Any]) -> Path:
    """A home that knows every embed of such an account (`known`)."""
    from benchmarks import data

    return data.kept(f"known-{options['embeds']}-{options['days']}", lambda folder: known(folder, options))


def answer(*, embeds: int = 200_000, rounds: int = 3) -> Answer:
    from benchmarks.server import simulator
    from pipelines.home.times import EPOCH
    from pipelines.simulator.options import DEFAULT_NOW

    options = account_of(embeds)
    home = known_home(options)
    with simulator(**options) as account:
        account.advance(HOUR.total_seconds())
        now = EPOCH + timedelta(seconds=DEFAULT_NOW) + HOUR
        asked = {"home": home, "url": account.url, "api_key": account.api_key, "now": now.isoformat()}
        contest = Contest(
            [
                Contestant(REFRESH, "benchmarks.steady_hour:sweep", asked),
                Contestant(EVERYTHING, "benchmarks.steady_hour:sweep", {**asked, "due": embeds // TENTH}),
            ],
            rounds,
        )

    share = contest.median(REFRESH, lambda run: run.told["count"]) / embeds
    seconds = embeds / contest.median(EVERYTHING, lambda run: run.rate)
    return Answer(
        [
            contest.table(
                "requests",
                {
                    "embeds asked": lambda run: f"{run.told['asked']:,.0f}",
                    "events landed": lambda run: f"{run.told['landed']:,.0f}",
                },
            )
        ],
        [Verdict("steady hour, share of the requests", f"{share:.2%}", "under 1 %", share < 0.01)],
        [
            f"{embeds:,} embeds are known, of {DAYS} days. Asking for each takes so many requests, and {seconds:,.0f} s"
            " at the rate of the tenth."
        ],
    )


SMALL = {"embeds": 300, "rounds": 1}
