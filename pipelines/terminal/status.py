"""`embed-analytics status`: how fresh and complete a home is, on one screen. It asks nobody and changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import orjson

from pipelines.errors import ConfigurationError, PermanentError, WarehouseMissingError
from pipelines.home.layout import Home
from pipelines.home.ownership import owner_of
from pipelines.home.printable import printable
from pipelines.settings import Settings
from pipelines.terminal.oldest import layers
from pipelines.warehouse import findings
from pipelines.warehouse.freshness import late_after
from pipelines.warehouse.published import connect_published, unreadable

_RUNS = 5


@dataclass(frozen=True)
class Run:
    """A run of a job in the home's history. Times are UTC; `ended_at` is None while it goes on."""

    job: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Day:
    """A row of meta_completeness: what is known of one day of one environment."""

    event_date: date
    environment_name: str | None
    verdict: str
    reason: str


@dataclass(frozen=True)
class Published:
    """What the published file says. `counts` are its rows of rpt_metrics that are of now, by metric, of all together.

    `worst_day` is the latest day that is incomplete, else the latest that is not known to be complete. `warnings` are
    what checks found and no setting acknowledges. What an older version did not publish is None.
    """

    build_id: str
    built_at: datetime
    data_through: datetime | None
    reconciled_at: datetime | None
    counts: dict[str, int | None] | None
    warnings: list[str] | None
    worst_day: Day | None


@dataclass(frozen=True)
class Status:
    """How fresh and complete a home is. Times are UTC, sizes are bytes. What is not known is None.

    `is_stale`: the data ends so long before `at` that two refreshes of the schedule and an hour lie between, or nothing
    has been published.
    """

    at: datetime
    home: str
    api_url: str | None
    organisation: str | None
    is_stale: bool
    age_seconds: float | None
    late_after_seconds: float
    next_refresh_at: datetime
    published: Published | None
    known_embeds: int | None
    due_embeds: int | None
    runs: list[Run]
    oldest: dict[str, date | None]
    bytes: dict[str, int]
    free_bytes: int

    def as_json(self) -> str:
        """One JSON object. Times are ISO 8601 in UTC."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_NAIVE_UTC).decode()


def read_status(settings: Settings, now: datetime) -> Status:
    """The status of the settings' home at `now` (UTC, without a zone). Raises ConfigurationError for a home that does
    not exist, or for a schedule that cannot be read."""
    from croniter import croniter

    home, late = settings.home, late_after(settings)
    if not home.root.is_dir():
        raise ConfigurationError(
            f"EMBED_ANALYTICS_HOME {home.root} does not exist: run `embed-analytics refresh` first."
        )
    owner = owner_of(home) or {}
    published = _published(home)
    data_through = published.data_through if published else None
    age = None if data_through is None else now - data_through
    known, due = _embeds(home, now)
    return Status(
        at=now,
        home=str(home.root),
        api_url=owner.get("api_url"),
        organisation=owner.get("organisation"),
        is_stale=age is None or age > late,
        age_seconds=None if age is None else age.total_seconds(),
        late_after_seconds=late.total_seconds(),
        next_refresh_at=croniter(settings.embed_analytics_refresh_cron, now).get_next(datetime),
        published=published,
        known_embeds=known,
        due_embeds=due,
        runs=_runs(settings),
        oldest={layer.name: layer.oldest for layer in layers(settings)},
        bytes={name: sum(_sizes(home.root / name)) for name in ("raw", "lake", "quarantine", "state", "dagster")}
        | {"warehouses": sum(size for path in home.root.glob("warehouse*") for size in _sizes(path))},
        free_bytes=shutil.disk_usage(home.root).free,
    )


def _published(home: Home) -> Published | None:
    try:
        connection = connect_published(home)
    except WarehouseMissingError:
        return None
    except duckdb.Error as error:
        raise unreadable(home, error) from None
    with connection:
        row = connection.execute("select build_id, built_at, data_through from meta_build").fetchall()[0]
        (reconciled_at,) = connection.execute("select max(reconciled_at) from meta_coverage").fetchall()[0]
        counts = _counts(connection)
        worst_day = _worst_day(connection)
        found = findings.read(connection)
    warnings = None if found is None else [f"{f.table_name}: {f.name}: {f.finding}" for f in found if not f.passed]
    return Published(*row, reconciled_at=reconciled_at, counts=counts, warnings=warnings, worst_day=worst_day)


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int | None] | None:
    if not (_has(connection, "rpt_metrics") and _has(connection, "meta_completeness")):
        return None
    rows = connection.execute("""
        select metric, value::bigint from rpt_metrics
        where period = 'now' and is_all_environments and is_all_templates and is_all_plans and is_all_customers
        order by metric
    """).fetchall()
    return dict(rows)


def _worst_day(connection: duckdb.DuckDBPyConnection) -> Day | None:
    if not _has(connection, "meta_completeness"):
        return None
    row = connection.execute("""
        select event_date, environment_name, verdict, reason from meta_completeness
        where verdict <> 'complete'
        order by verdict <> 'incomplete', event_date desc, environment_name
        limit 1
    """).fetchone()
    return None if row is None else Day(*row)


def _has(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether the published file has a table or view of this name."""
    found = connection.execute(
        "from information_schema.tables where table_catalog = 'warehouse' and table_name = $1", [name]
    ).fetchone()
    return found is not None


def _embeds(home: Home, now: datetime) -> tuple[int | None, int | None]:
    """The embeds that are known, and those that are due now. None where no sweep has begun."""
    if not home.poll_state.exists():
        return None, None
    from pipelines.poll.poll_state import PollState

    # Nothing is made or caught up here: that is the next sweep's.
    try:
        with closing(sqlite3.connect(f"{home.poll_state.as_uri()}?mode=ro", uri=True)) as connection:
            state = PollState(home, connection)
            return state.embed_count(), state.due_count(now)
    except sqlite3.Error as error:
        raise PermanentError(
            f"{home.poll_state} cannot be read ({error}): the next refresh makes it again from raw."
        ) from None


def _runs(settings: Settings) -> list[Run]:
    """The latest runs, failed ones included, the latest first."""
    if not settings.home.dagster.is_dir():
        return []
    from pipelines.orchestration.instance.opening import open_instance

    with open_instance(settings.home, settings.embed_analytics_dagster_database_url) as instance:
        records = instance.get_run_records(limit=_RUNS)
    return [
        Run(
            record.dagster_run.job_name, record.dagster_run.status.value, _utc(record.start_time), _utc(record.end_time)
        )
        for record in records
    ]


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _sizes(path: Path) -> Iterator[int]:
    """The sizes of a file, or of all files below a folder. What goes away meanwhile is left out."""
    try:
        if not path.is_dir():
            yield path.stat().st_size
            return
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return


def status_lines(status: Status) -> list[str]:
    """The status in words, a name and its text a line."""
    rows = [
        ("home", f"{status.home}, {_account(status)}"),
        ("data through", _freshness(status)),
        *_published_rows(status.published),
        ("embeds", _embed_words(status)),
        ("next refresh", f"{_minute(status.next_refresh_at)}, where `embed-analytics dev` runs"),
        *(("" if number else "runs", _run_words(run)) for number, run in enumerate(status.runs)),
        ("oldest", ", ".join(f"{name} {day or 'none'}" for name, day in status.oldest.items())),
        ("disk", ", ".join(f"{name} {_size(size)}" for name, size in status.bytes.items())),
        ("", f"{_size(status.free_bytes)} free"),
    ]
    return [f"{name:<14}{printable(text)}" for name, text in rows]


def _account(status: Status) -> str:
    if status.organisation is None:
        return "of no account yet"
    return f"of {status.organisation} at {status.api_url}"


def _freshness(status: Status) -> str:
    if status.published is None:
        return "STALE: nothing has been published. Run `embed-analytics refresh`"
    through = status.published.data_through
    if through is None or status.age_seconds is None:
        return "STALE: no sweep has completed. Run `embed-analytics refresh`"
    age = f"{_minute(through)}, {_duration(status.age_seconds)} ago"
    late = _duration(status.late_after_seconds)
    return f"{age}. STALE: late after {late}" if status.is_stale else f"{age} (late after {late})"


def _published_rows(published: Published | None) -> list[tuple[str, str]]:
    if published is None:
        return []
    build = ("build", f"{published.build_id}, {_minute(published.built_at)}")
    if published.counts is None or published.warnings is None:
        return [build, ("", "by an older version: `embed-analytics publish` adds what this screen shows of it")]
    counts = {name: "not known" if value is None else f"{value:,}" for name, value in published.counts.items()}
    compared = "never reconciled"
    if published.reconciled_at is not None:
        compared = (
            f"{counts['purged_events']} of them gone at the vendor, {counts['unheld_events']} there and not held "
            f"(reconciled {_minute(published.reconciled_at)}; days not compared: {counts['unreconciled_days']})"
        )
    return [
        build,
        ("events", f"{counts['held_events']} held, {compared}"),
        *_day_rows(counts, published.worst_day),
        ("quarantine", f"{counts['quarantined_events']} events"),
        ("sweeps", f"{counts['broken_sweeps']} broken off since, {counts['failed_embeds']} embeds failed in the last"),
        ("sessions", f"{counts['open']} open, {counts['stuck']} stuck, {counts['stuck_helpable']} can still be helped"),
        *(("" if number else "warnings", text) for number, text in enumerate(published.warnings or ["none"])),
    ]


def _day_rows(counts: dict[str, str], worst: Day | None) -> list[tuple[str, str]]:
    """How many days of an environment have which verdict, and the worst of them."""
    told = (
        f"{counts['complete_days']} complete, {counts['unproven_days']} complete as far as the source can say, "
        f"{counts['incomplete_days']} incomplete"
    )
    if worst is None:
        return [("days", told)]
    environment = "an environment that is not known" if worst.environment_name is None else worst.environment_name
    return [("days", told), ("", f"{worst.event_date} of {environment} is {worst.verdict}: {worst.reason}")]


def _embed_words(status: Status) -> str:
    if status.known_embeds is None or status.due_embeds is None:
        return "none known: no sweep has begun"
    return f"{status.known_embeds:,} known, {status.due_embeds:,} due now"


def _run_words(run: Run) -> str:
    if run.started_at is None:
        return f"{run.job} {run.status.lower()}"
    took = "" if run.ended_at is None else f", {_duration((run.ended_at - run.started_at).total_seconds())}"
    return f"{run.job} {run.status.lower()}, {_minute(run.started_at)}{took}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _duration(seconds: float) -> str:
    """In the two largest units: `2 d 3 h`."""
    text, left = list[str](), int(max(0, seconds))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            text.append(f"{count} {unit}")
    return " ".join(text[:2]) or "0 s"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
