"""A reader: opens the published file, checks that totals agree between tables, closes, and starts again until the end.

Run as a process of its own with the file's path. Prints one JSON line: reads, distinct builds seen, failures.
"""

import json
import os
import sys
from pathlib import Path

import duckdb

TOTALS = {
    "staged": "select count(*) from stg_embed_events",
    "embeds": "select coalesce(sum(event_count), 0)::bigint from fct_embeds",
    "days": "select coalesce(sum(event_count), 0)::bigint from stg_lake_days",
    "noted": "select (table_rows ->> '$.stg_embed_events')::bigint from meta_build",
}
# Events, and sessions, with a plausible time.
PLAUSIBLE = {
    "staged": "select count(*) from stg_embed_events, meta_build "
    "where occurred_at between plausible_from and plausible_until",
    "daily": "select coalesce(sum(event_count), 0)::bigint from fct_events_daily",
}
SESSIONS = {
    "embeds": "select count(*) from fct_embeds where entry_date is not null",
    "entered": "select coalesce(sum(entered_count), 0)::bigint from fct_embed_funnel_daily where step_number = 1",
}


def connect(path: str) -> duckdb.DuckDBPyConnection:
    """As docs/architecture.md tells readers to: once more where the file was replaced while it was being opened."""
    while True:
        inode = Path(path).stat().st_ino
        try:
            connection = duckdb.connect(path, read_only=True)
        except duckdb.Error:
            if Path(path).stat().st_ino == inode:
                raise
            continue
        if Path(path).stat().st_ino == inode:
            return connection
        connection.close()


def read(path: str) -> str:
    """One read. Returns the build that was read. Raises where totals do not agree."""
    with connect(path) as connection:
        for queries in (TOTALS, PLAUSIBLE, SESSIONS):
            totals = {name: connection.execute(query).fetchone() for name, query in queries.items()}
            if len(set(totals.values())) != 1:
                raise AssertionError(f"torn: {totals}")
        (build_id,) = connection.execute("select build_id from meta_build").fetchone() or ("",)
    return build_id


def progress_file(until: str | Path, pid: int) -> Path:
    """The file that is as long as the number of reads that the process has begun."""
    return Path(f"{until}.{pid}")


def main(path: str, until: str) -> None:
    """Read until the file `until` exists, giving way to the builder without ever pausing."""
    os.nice(10)
    failures: list[str] = []
    builds: set[str] = set()
    reads = 0
    while not Path(until).exists():
        reads += 1
        # A byte for each read that began: the builder's side waits for them.
        with progress_file(until, os.getpid()).open("ab") as progress:
            progress.write(b".")
        try:
            builds.add(read(path))
        except (duckdb.Error, AssertionError, OSError) as error:
            failures.append(f"{type(error).__name__}: {error}")
    sys.stdout.write(json.dumps({"pid": os.getpid(), "reads": reads, "builds": len(builds), "failures": failures[:5]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
