"""(6) The README's queries on a published warehouse, beside the same SQL over the lake's Parquet.

For the second, every model is a view over the lake's files, so the same text runs and nothing is stored.

funnel() stands beside ClickHouse's windowFunnel (chdb), which says less: how many sessions got to which level, without
steps that may be skipped, seconds, intervals, ties of time or checks of arguments, and to the second.
"""

import re
from pathlib import Path

from benchmarks.contest import (
    CACHE,
    OTHERS_PYTHON,
    ROOT,
    Answer,
    Contest,
    Contestant,
    Verdict,
    Work,
    installed,
    others,
)

WAREHOUSE, LAKE = "warehouse", "lake"
LIMIT_SECONDS = 1.0

WINDOW_FUNNEL = "ClickHouse's windowFunnel"
FUNNELS = {"funnel()": "from funnel()", "funnel() of users": "from funnel(unit := 'user')"}

# In the README's queries, today stands for the end of the data, and the example of a session for one that exists.
_TODAY = "current_date"
_SESSION = "41560"
# The default window of funnel(), a week.
_WINDOW_SECONDS = 7 * 86_400
_FROM_DATE = re.compile(r", from_date := [^\n)]+")


def readme_queries() -> list[str]:
    """The SQL of the README, in its order."""
    return re.findall(r"```sql\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def on_warehouse(*, scratch: Path, home: str, sql: str) -> Work:
    del scratch
    from pipelines.home.layout import Home
    from pipelines.warehouse.published import connect_published

    def work() -> dict[str, float]:
        with connect_published(Home(Path(home))) as connection:
            return {"count": len(connection.execute(sql).fetchall())}

    return work


def on_lake(*, scratch: Path, home: str, sql: str) -> Work:
    from datetime import datetime

    import duckdb

    from benchmarks import data
    from pipelines.home.layout import Home
    from pipelines.warehouse import ledger, sources
    from pipelines.warehouse.functions import create_functions
    from pipelines.warehouse.macros import create_macros, macro_files
    from pipelines.warehouse.models import load_models
    from pipelines.warehouse.parameters import Parameters
    from pipelines.warehouse.published import connect_published

    source = Home(Path(home))
    with connect_published(source) as connection:
        (data_through,) = connection.execute("select data_through from meta_build").fetchall()[0]
    options = data.BUILD_OPTIONS

    def work() -> dict[str, float]:
        found = ledger.scan(source, None)
        with duckdb.connect() as connection:
            connection.execute(f"set temp_directory = '{scratch}'")
            connection.execute("attach ':memory:' as warehouse")
            connection.execute("use warehouse")
            sources.attach(connection)
            create_functions(connection)
            sources.create_lake(connection, source, found, None)
            sources.create_raw(connection, source, found.files(*ledger.FLAT_KINDS))
            sources.create_catalogues(connection, source, None)
            sources.create_raw_deliveries(connection, found)
            sources.create_damaged_raw_files(connection, found)
            facts = sources.BuildFacts("lake", datetime(2026, 1, 1), "benchmark", True, None, None, None)
            sources.create_build(connection, facts, {})
            parameters = Parameters.from_settings(options.settings, data_through)
            sources.create_parameters(connection, parameters)
            for model in load_models():
                connection.execute(f"create view warehouse.main.{model.name} as\n{model.sql}")
            # Only what the query calls: DuckDB does not bind time_to(step) where a view has a column of that name.
            create_macros(connection, [path for path in macro_files() if f"{path.stem}(" in sql])
            return {"count": len(connection.execute(sql).fetchall())}

    return work


def in_clickhouse(*, scratch: Path, events: str) -> Work:
    """windowFunnel with the default funnel's steps and window, over a table in the order of sessions. `events` is a
    Parquet file; filling the table from it is not timed."""
    from pipelines.oneschema.vocabulary import FUNNEL_STEPS

    session = others("chdb.session").Session(str(scratch / "clickhouse"))
    session.query(
        "create table events (embed_id Int64, event_type LowCardinality(String), occurred_at DateTime)"
        " engine = MergeTree order by (embed_id, occurred_at)"
    )
    session.query(f"insert into events select embed_id, event_type, toDateTime(occurred_at) from file('{events}')")
    conditions = ", ".join(f"event_type = '{step.step}'" for step in FUNNEL_STEPS)
    levels = (
        f"select embed_id, windowFunnel({_WINDOW_SECONDS})(occurred_at, {conditions}) as level from events"
        " group by embed_id"
    )

    def work() -> dict[str, float]:
        told = session.query(f"select level, count() from ({levels}) group by level order by level", "CSV")
        return {"count": len(str(told).split())}

    return work


def queries_of(home: Path) -> dict[str, str]:
    """The README's queries by name, for a home whose data ended a while ago, about its longest session."""
    from pipelines.home.layout import Home
    from pipelines.warehouse.published import connect_published

    with connect_published(Home(home)) as connection:
        ((today,),) = connection.execute("select data_through::date from meta_build").fetchall()
        longest = "select embed_id from fct_embeds order by event_count desc, embed_id limit 1"
        ((session,),) = connection.execute(longest).fetchall()
    return {
        f"query {number}": sql.replace(_TODAY, f"date '{today}'").replace(_SESSION, str(session))
        for number, sql in enumerate(readme_queries(), 1)
    }


def answer(
    *, blocks: int = 100, lake_blocks: int = 10, block_events: int = 100_000, rounds: int = 5, lake_rounds: int = 1
) -> Answer:
    from benchmarks import data
    from pipelines.home.layout import Home
    from pipelines.warehouse.published import connect_published

    events = blocks * block_events
    home = data.history(events, block_events) / "home"
    queries = queries_of(home)

    def on(place: str, name: str, sql: str, home: Path = home) -> Contestant:
        return Contestant(f"{place}, {name}", f"benchmarks.queries:on_{place}", {"home": home, "sql": sql})

    contest = Contest([on(WAREHOUSE, *query) for query in queries.items()], rounds)
    # Over the lake each query builds what it reads. On all of the events, they would take most of the benchmark's time.
    lake_events = lake_blocks * block_events
    small = data.history(lake_events, block_events) / "home"
    places = (WAREHOUSE, LAKE)
    over_lake = Contest(
        [on(place, *query, small) for query in queries_of(small).items() for place in places], lake_rounds
    )
    every_funnel = [
        (f"{name} without from_date", without)
        for name, sql in queries.items()
        if (without := _FROM_DATE.sub("", sql)) != sql
    ]
    without_dates = Contest([on(WAREHOUSE, *query) for query in every_funnel], rounds)
    exported = CACHE / "funnel-events.parquet"
    with connect_published(Home(home)) as connection:
        connection.sql("select embed_id, event_type, occurred_at from stg_embed_events").write_parquet(str(exported))
    clickhouse = Contestant(WINDOW_FUNNEL, "benchmarks.queries:in_clickhouse", {"events": exported}, OTHERS_PYTHON)
    funnels = [
        *(on(WAREHOUSE, *query) for query in FUNNELS.items()),
        on(WAREHOUSE, "query 3", queries["query 3"]),
    ]
    beside = Contest([*funnels, *installed([clickhouse])], rounds)
    exported.unlink()
    cpu = [
        f"{name} {beside.ratio(name, WINDOW_FUNNEL, lambda run: run.cpu_seconds):.1f}"
        for name in (funnel.name for funnel in funnels)
        if WINDOW_FUNNEL in beside.runs
    ]
    seconds = [contest.median(f"{WAREHOUSE}, {name}", lambda run: run.seconds) for name in queries]
    slowest = max(seconds)
    times = [over_lake.ratio(f"{LAKE}, {name}", f"{WAREHOUSE}, {name}", lambda run: run.seconds) for name in queries]
    return Answer(
        [contest.table("rows"), without_dates.table("rows"), over_lake.table("rows"), beside.table("rows")],
        [
            Verdict(
                f"queries on {events:,} events, the slowest of {len(seconds)}",
                f"{slowest:.2f} s",
                f"under {LIMIT_SECONDS:g} s",
                slowest < LIMIT_SECONDS,
            )
        ],
        [
            f"Time over the lake as a multiple of the warehouse's, both on {lake_events:,} events: "
            f"{', '.join(f'{ratio:.1f}' for ratio in times)}.",
            *(f"CPU time as a multiple of windowFunnel's, which gives levels alone: {ratio}." for ratio in cpu),
            *(f"{name}: `{' '.join(sql.split())}`" for name, sql in queries.items()),
        ],
    )


SMALL = {"blocks": 2, "lake_blocks": 1, "block_events": 1_000, "rounds": 1}
