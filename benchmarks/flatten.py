"""(1) Raw to both lake tables, beside DuckDB's bare read_json of the same lines and dlt.

Ours decodes the claims, merges deliveries and explodes the errors of the landed events. DuckDB copies the same events
as lines of JSON to one Parquet and does none of that: the floor. dlt loads a part of the lines to Parquet, without
nesting.
"""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.contest import (
    CORES,
    OTHERS_PYTHON,
    Answer,
    Contest,
    Contestant,
    Work,
    at_least,
    at_most,
    installed,
    others,
)

OURS, FLOOR, DLT = "ours", "DuckDB read_json (floor)", "dlt, Parquet loader"

# dlt is asked for a fifth of the events: rates are compared, and its time would be most of the benchmark's.
DLT_SHARE = 5


def ours(*, scratch: Path, home: str) -> Work:
    from pipelines.flatten.days import FlattenOptions, flatten_days
    from pipelines.home.layout import Home

    (scratch / "raw").symlink_to(Path(home) / "raw")
    return lambda: {"count": flatten_days(Home(scratch), FlattenOptions()).event_count}


def floor(*, scratch: Path, lines: str) -> Work:
    import duckdb

    def copy() -> dict[str, float]:
        with duckdb.connect() as connection:
            connection.execute(f"set threads = {CORES}")
            target = f"'{scratch / 'events.parquet'}' (format parquet, compression zstd)"
            connection.execute(f"copy (from read_json('{lines}')) to {target}")
            rows = connection.execute(f"select count(*) from '{scratch / 'events.parquet'}'").fetchall()
            return {"count": rows[0][0]}

    return copy


def dlt_load(*, scratch: Path, lines: str, events: int) -> Work:
    dlt = others("dlt")

    @dlt.resource(name="events", max_table_nesting=0)
    def read() -> Any:
        with Path(lines).open("rb") as file:
            taken = islice(file, events)
            while batch := [json.loads(line) for line in islice(taken, 1_000)]:
                yield batch

    def load() -> dict[str, float]:
        destination = dlt.destinations.filesystem(bucket_url=str(scratch / "loaded"))
        pipeline = dlt.pipeline("flatten", destination=destination, dataset_name="lake", pipelines_dir=str(scratch))
        pipeline.run(read(), loader_file_format="parquet")
        return {"count": events}

    return load


def answer(
    *,
    events: int = 1_000_000,
    block_events: int = 500_000,
    thin: int = 100_000,
    claim_paths: int = 100_000,
    rounds: int = 5,
) -> Answer:
    from benchmarks import data

    home = data.history(events, block_events) / "home"
    lines = data.lines(events, block_events)
    # The same number of events on more days: each day costs something of its own.
    thin_home = data.history(events, thin) / "home"
    # The same events, but ids are the names of claims: no two tokens of a hundred thousand embeds have the same shape.
    many = f"ours, {claim_paths:,} claim paths"
    many_home = data.many_claims(events, block_events, claim_paths) / "home"
    contest = Contest(
        installed(
            [
                Contestant(OURS, "benchmarks.flatten:ours", {"home": home}),
                Contestant(FLOOR, "benchmarks.flatten:floor", {"lines": lines}),
                Contestant(many, "benchmarks.flatten:ours", {"home": many_home}),
                Contestant(
                    f"ours, {thin // data.BLOCK_DAYS:,} events a day", "benchmarks.flatten:ours", {"home": thin_home}
                ),
                Contestant(
                    DLT, "benchmarks.flatten:dlt_load", {"lines": lines, "events": events // DLT_SHARE}, OTHERS_PYTHON
                ),
            ]
        ),
        rounds,
    )
    verdicts = [at_most("flatten, time over DuckDB's floor", contest.ratio(OURS, FLOOR, lambda run: run.seconds), 1.25)]
    if DLT in contest.runs:
        verdicts.append(at_least("flatten, rate over dlt's", contest.ratio(OURS, DLT, lambda run: run.rate), 25))
    over_few = contest.ratio(many, OURS, lambda run: run.cpu_seconds)
    verdicts.append(at_most(f"flatten, CPU time with {claim_paths:,} claim paths over the same without", over_few, 2))
    peak = max(run.peak_bytes for run in contest.runs[OURS]) / 1e9
    verdicts.append(at_most("flatten, peak memory", peak, 2, " GB"))
    return Answer(
        [contest.table("events")],
        verdicts,
        [f"{block_events // data.BLOCK_DAYS:,} events a day where not said otherwise"],
    )


SMALL = {"events": 2_000, "block_events": 1_000, "thin": 500, "claim_paths": 200, "rounds": 1}
