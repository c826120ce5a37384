"""`make bench-warehouse`: the full build of 10,000,000 events, and refreshes on top of three sizes of history.

The lake is written here with DuckDB, 10,000 events a day, so a longer history is more days and not fuller ones. Each
refresh adds 10,000 events: most in a new day, some late in the days before. Sizes in events can be given as arguments.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from pipelines.flatten.schema import CLAIMS_CATALOGUE, LAKE_DAYS, LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS
from pipelines.home import Home, partition_folder
from pipelines.raw.schema import RAW_EMBEDS, RAW_SWEEPS
from pipelines.warehouse import sources
from pipelines.warehouse.build import BuildOptions, BuildReport, build

EVENTS_PER_DAY = 10_000
EVENTS_PER_EMBED = 10
FIRST_DAY = datetime(2023, 1, 1)
EMBEDS_PER_DAY = EVENTS_PER_DAY // EVENTS_PER_EMBED
LATE_EVENTS = 100
REFRESHES = 5
OPTIONS = BuildOptions(code_version="benchmark")

# Ten events in the order of a session that is imported.
TYPES = (
    "['embed_initialized', 'file_uploaded', 'header_selected', 'columns_mapped', 'sheet_operation_performed', "
    "'sheet_operation_performed', 'sheet_operation_performed', 'columns_mapped', 'import_submitted', 'embed_closed']"
)


class Bench:
    """A home whose lake is made up, day by day, and the reports that flattening would give of it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.days: dict[str, tuple[int, int]] = {}
        self.sweeps = 0
        self.connection = duckdb.connect()
        self.connection.execute("set preserve_insertion_order = true")

    def write_day(self, day: int, late: int = 0) -> None:
        """A day's folder: `EVENTS_PER_DAY` events, and `late` more of the same sessions."""
        date = FIRST_DAY + timedelta(days=day)
        name = f"{date:%Y-%m-%d}"
        per_embed, embeds = EVENTS_PER_EMBED, EMBEDS_PER_DAY
        self.connection.execute(f"""
            create or replace temp table day as
            select
                'event-' || md5('{day} ' || i)::uuid as event_uuid,
                {day * EVENTS_PER_DAY * 2} + i as event_id,
                {day * embeds} + (i // {per_embed}) % {embeds} as embed_id,
                {TYPES}[1 + i % {per_embed}] as event_type,
                'user' as trigger_type,
                timestamp '{date}' + to_seconds(
                    (i // {per_embed}) % {embeds} * 40 + (i % {per_embed}) * 37 + i // {EVENTS_PER_DAY}
                ) as occurred_at,
                occurred_at::date as event_date,
                'Production' as environment_name,
                'template_' || embed_id % 7 as template_key,
                case
                    when event_type = 'sheet_operation_performed' then ['sum', 'split', 'dedupe'][1 + i % 3]
                end as operation,
                case when event_type = 'import_submitted' then 'webhook' end as import_type,
                i % 5 = 0 as has_snapshot,
                event_type in ('columns_mapped', 'import_submitted') as has_error_counts,
                case
                    when has_error_counts
                        then '{{"validation_error_counts":{{"item":{{"PICKLIST":1}},"sku":{{"MISSING":2}}}}}}'
                end as data,
                null::varchar as extra,
                'api' as source,
                occurred_at as landed_at,
                'unverified' as jwt_status,
                '{{"iss":"client","user_id":"user-' || embed_id % 5000 || '","plan":"plan-' || embed_id % 3
                    || '","org":"org-' || embed_id % 400 || '"}}' as claims,
                'client' as claim_iss,
                'org-' || embed_id % 400 as claim_org,
                'plan-' || embed_id % 3 as claim_plan,
                'user-' || embed_id % 5000 as claim_user_id
            from range({EVENTS_PER_DAY + late}) as t(i)
            where i % {per_embed} < 4 or (i // {per_embed}) % 3 > 0 or i >= {EVENTS_PER_DAY} or true
            order by embed_id, occurred_at
        """)
        events = "select " + ", ".join([*LAKE_EMBED_EVENTS.names, "columns('^claim_')"]) + " from day"
        errors = (
            f"select {', '.join(LAKE_VALIDATION_ERRORS.names)} from (select *, unnest(['item', 'sku']) as column_key, "
            "unnest(['PICKLIST', 'MISSING']) as error_code, unnest([1, 2])::bigint as error_count "
            "from day where has_error_counts)"
        )
        self._copy(events, self.home.lake_embed_events, name)
        self._copy(errors, self.home.lake_validation_errors, name)
        self._copy("select event_uuid from day", self.home.raw_embed_events, name)
        counts = [self.connection.execute(f"select count(*) from ({rows})").fetchone() for rows in (events, errors)]
        self.days[name] = (counts[0][0], counts[1][0]) if counts[0] and counts[1] else (0, 0)

    def _copy(self, rows: str, table: Path, name: str) -> None:
        folder = partition_folder(table, name)
        folder.mkdir(parents=True, exist_ok=True)
        self.connection.execute(
            f"copy ({rows}) to '{folder / 'data.parquet.new'}' (format parquet, compression zstd, compression_level 1)"
        )
        (folder / "data.parquet.new").replace(folder / "data.parquet")

    def sweep(self, started_at: datetime, embeds: range) -> None:
        """A complete sweep that saw these embeds change."""
        self.sweeps += 1
        row = {
            "sweep_id": f"{self.sweeps:09}",
            "kind": "refresh",
            "started_at": started_at,
            "finished_at": started_at,
            "is_complete": True,
            "failed_count": 0,
        }
        for table, folder in ((RAW_SWEEPS, self.home.raw_sweeps), (RAW_EMBEDS, self.home.raw_embeds)):
            folder.mkdir(parents=True, exist_ok=True)
            frame = pl.DataFrame([row] if table is RAW_SWEEPS else [], schema=table.polars_schema)
            if table is RAW_EMBEDS:
                frame = pl.DataFrame({"embed_id": embeds}).with_columns(
                    status=pl.lit("imported"), imported_row_count=pl.lit(100), fetched_at=pl.lit(started_at)
                )
                missing = [name for name in table.names if name not in frame.columns]
                frame = frame.with_columns(pl.lit(None).alias(name) for name in missing)
                frame = frame.select(table.names).cast(dict(table.polars_schema))
            frame.write_parquet(folder / f"{self.sweeps:09}.parquet")

    def day_reports(self, _: Home) -> pl.DataFrame:
        """LAKE_DAYS of the lake that was made up."""
        rows = [
            (name, events, events, 0, 0, 0, 0, errors, FIRST_DAY, FIRST_DAY)
            for name, (events, errors) in self.days.items()
        ]
        return pl.DataFrame(rows, schema=LAKE_DAYS.polars_schema, orient="row")

    def claims_catalogue(self, _: Home) -> pl.DataFrame:
        """CLAIMS_CATALOGUE of the lake that was made up."""
        rows = [
            (path, f"claim_{path}", True, "string", 1, 1.0, FIRST_DAY, FIRST_DAY)
            for path in ("iss", "org", "plan", "user_id")
        ]
        return pl.DataFrame(rows, schema=CLAIMS_CATALOGUE.polars_schema, orient="row")


def told(report: BuildReport) -> str:
    """Seconds per phase in one line."""
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in report.seconds.items() if seconds >= 0.005)


class History:
    """A home with this many events, built once, and refreshed with 10,000 more as often as asked."""

    def __init__(self, root: Path, events: int) -> None:
        self.events = events
        self.bench = Bench(root)
        self.today = events // EVENTS_PER_DAY
        self.refreshes: list[tuple[float, float]] = []
        for day in range(self.today):
            self.bench.write_day(day)
        self._sweep(range(self.today * EMBEDS_PER_DAY))

    def _sweep(self, embeds: range) -> None:
        self.bench.sweep(FIRST_DAY + timedelta(days=self.today), embeds)

    def _build(self) -> tuple[float, BuildReport]:
        sources.read_day_reports = self.bench.day_reports
        sources.read_claims_catalogue = self.bench.claims_catalogue
        started = time.perf_counter()
        report = build(self.bench.home, OPTIONS)
        return time.perf_counter() - started, report

    def build_from_nothing(self) -> None:
        """The full build."""
        seconds, report = self._build()
        size = self.bench.home.warehouse.stat().st_size / 1e6
        print(f"full build {self.events:>17,} events: {seconds:6.2f} s, {size:,.0f} MB ({told(report)})", flush=True)

    def refresh(self) -> None:
        """One more day of 10,000 events, and a few that came late for the days before."""
        for back in range(1, 4):
            self.bench.write_day(self.today - back, late=LATE_EVENTS * (len(self.refreshes) + 1))
        self.bench.write_day(self.today)
        self.today += 1
        self._sweep(range((self.today - 2) * EMBEDS_PER_DAY, self.today * EMBEDS_PER_DAY))
        seconds, report = self._build()
        copying = report.seconds["copy"]
        self.refreshes.append((seconds - copying, copying))
        print(
            f"refresh +10,000 on {self.events:>9,} events: {seconds - copying:6.2f} s "
            f"+ copy {copying:4.2f} s ({told(report)})",
            flush=True,
        )


def main(arguments: Sequence[str]) -> None:
    """Print the measurements of each size, and how the largest compares with the smallest."""
    sizes = [int(argument.replace(",", "")) for argument in arguments] or [100_000, 1_000_000, 10_000_000]
    print(f"{os.cpu_count()} cores, DuckDB {duckdb.__version__}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-warehouse-") as folder:
        histories = [History(Path(folder) / str(size), size) for size in sizes]
        for history in histories:
            history.build_from_nothing()
        # In turns, so that what else the machine does meets every size alike.
        for _ in range(REFRESHES):
            for history in histories:
                history.refresh()
    best = {history.events: min(history.refreshes) for history in histories}
    for size, (seconds, copying) in best.items():
        print(f"best refresh on {size:>12,} events: {seconds:6.2f} s + copy {copying:4.2f} s")
    ratio = best[sizes[-1]][0] / best[sizes[0]][0]
    print(f"largest over smallest, the copy told apart: {ratio:.2f} times (target: at most 1.5)")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main(sys.argv[1:])
