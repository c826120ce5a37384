"""Compares the published warehouse with the lake: the rows of each table that is made of the lake, day by day.

Both sides are summed up by DuckDB, as the number of rows and the sum of their hashes. The lake's side runs the SELECT
that makes the table. The other tables are made of these by SQL. They are not made again here. Instead the file has to
have the headers of a build that published it, and every block its checksum.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryDirectory

import duckdb

from pipelines.errors import WarehouseMissingError
from pipelines.evidence.findings import Checked, Finding, Since, Waiting
from pipelines.evidence.lake_check import CheckedLake
from pipelines.flatten.lake_tables import LAKE_DAYS
from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse import ledger, published_record, sources
from pipelines.warehouse.bounded import memory_limit
from pipelines.warehouse.ledger import LAKE_KINDS, Ledger
from pipelines.warehouse.literals import identifier, quoted
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import load_models
from pipelines.warehouse.parameters import Parameters
from pipelines.warehouse.published import connect_published, first_line, unreadable_part
from pipelines.warehouse.versions import versions_of

OnProgress = Callable[[int, int], None]

_KIND = "lake_partition"
_PATH = "warehouse.duckdb"
_ANEW = "`embed-analytics publish --full-refresh` builds it anew from the lake."
_TRIES = 3


@dataclass(frozen=True)
class _Sum:
    """Of the rows of one day: how many, and the sum of their hashes."""

    rows: int
    hashes: int


def check_warehouse(
    settings: Settings, lake: CheckedLake, on_progress: OnProgress = lambda _done, _all: None
) -> Checked:
    """Compare the published warehouse with the lake, whose own check came before. Raises nothing for what it finds."""
    home, checked = settings.home, Checked()
    try:
        with connect_published(home) as connection, TemporaryDirectory(prefix="embed-analytics-verify-") as spill:
            connection.execute(f"set temp_directory = {quoted(spill)}")
            connection.execute("set enable_progress_bar = false")
            connection.execute(f"set memory_limit = '{memory_limit(connection, settings)}B'")
            _Comparison(connection, settings, lake, checked, on_progress).run()
        _check_file(home, checked)
    except WarehouseMissingError:
        checked.unproven.append("The warehouse: nothing has been published.")
    except (duckdb.Error, ValueError, OSError) as error:
        reason = f"or the lake, cannot be read ({first_line(error)})"
        checked.findings.append(Finding("warehouse", _PATH, None, reason, Since(), _ANEW))
    return checked


def _check_file(home: Home, checked: Checked) -> None:
    """The file itself: written by a build and by nothing since, and every block whole."""
    log = published_record.log_file(home)
    # The record is written before the file gets its name: it fits either side of a publish.
    is_of_a_build = published_record.is_of_a_build(home)
    if log.exists() and log.stat().st_size:
        reason = f"has a log beside it ({log.name}): a client changes it, and its readers see that"
        checked.findings.append(Finding("warehouse", _PATH, None, reason, Since(), _ANEW))
    elif is_of_a_build is False:
        reason = "is not as a build published it: something wrote to it"
        checked.findings.append(Finding("warehouse", _PATH, None, reason, Since(), _ANEW))
    staged = [model.name for model in load_models() if model.refresh == _KIND]
    part = unreadable_part(home, without=staged)
    if part is not None:
        reason = f"has a block that is damaged ({part})"
        checked.findings.append(Finding("warehouse", _PATH, None, reason, Since(), _ANEW))
    elif is_of_a_build:
        checked.proven.append("Nothing wrote to the published warehouse through DuckDB, and all its blocks are whole.")
    elif is_of_a_build is None:
        checked.unproven.append(
            "Whether something wrote to the warehouse since it was published: "
            f"{published_record.record_file(home).name} is missing or damaged."
        )
    checked.unproven.append(
        "That the warehouse's other tables are what SQL makes of these: they are not made again. "
        "`publish --full-refresh` makes them."
    )


class _Comparison:
    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        lake: CheckedLake,
        checked: Checked,
        on_progress: OnProgress,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._home = settings.home
        self._lake = lake
        self._checked = checked
        self._on_progress = on_progress

    def run(self) -> None:
        built_at, read, versions = self._published()
        parameters = Parameters.from_settings(self._settings)
        models = [model for model in load_models() if model.refresh == _KIND]
        now = versions_of(models, parameters)
        same = [model for model in models if versions.get(model.name) == now[model.name]]
        for model in models:
            if model not in same:
                reason = f"{model.name} was made by another version, which the next build makes anew"
                self._checked.waiting.append(Waiting("warehouse", None, reason))
        sources.attach(self._connection)
        sources.create_parameters(self._connection, parameters)
        days: set[str] = set()
        wrong: set[str] = set()
        newer = _newer(self._home, read)
        self._find_missing(read, newer)
        for model, (made, held) in zip(same, self._sums(same), strict=True):
            days |= made.keys() | held.keys()
            for date in sorted((made.keys() | held.keys()) - self._lake.unreadable):
                if made.get(date) != held.get(date):
                    wrong.add(date)
                    self._differs(model, date, made.get(date), held.get(date), newer, built_at)
        names = ", ".join(model.name for model in same)
        right = len(days - wrong - self._lake.unreadable)
        self._checked.proven.append(f"{right:,} of {len(days):,} days have the lake's rows in {names}.")

    def _published(self) -> tuple[datetime, Ledger, Mapping[str, str]]:
        row = self._connection.execute("select built_at from warehouse.main.meta_build").fetchone()
        versions = dict(self._connection.execute("select name, version from warehouse.builder.models").fetchall())
        assert row is not None
        return row[0], ledger.read(self._connection), versions

    def _sums(self, models: Sequence[Model]) -> list[tuple[dict[str, _Sum], dict[str, _Sum]]]:
        """For each model by day what the lake makes of it now, and what the warehouse has."""
        for tried in range(1, _TRIES + 1):
            try:
                self._show_lake()
                return [self._sums_of(model, number, len(models)) for number, model in enumerate(models, 1)]
            except (duckdb.IOException, OSError):
                # A running refresh has replaced or removed a file that was listed.
                if tried == _TRIES:
                    raise
        raise AssertionError

    def _show_lake(self) -> None:
        """Schema `source`: the lake's files as they are now."""
        sources.create_lake(self._connection, self._home, ledger.lake_ledger(self._home, self._lake.unreadable), None)
        sources.create_from_frame(self._connection, "days", self._lake.records.select(LAKE_DAYS.names))

    def _sums_of(self, model: Model, number: int, total: int) -> tuple[dict[str, _Sum], dict[str, _Sum]]:
        made, held = f"({model.statement})", f"warehouse.main.{identifier(model.name)}"
        columns = sorted({*self._columns(made), *self._columns(held)})
        sums = self._sum(made, columns), self._sum(held, columns)
        self._on_progress(number, total)
        return sums

    def _columns(self, relation: str) -> list[str]:
        return [row[0] for row in self._connection.execute(f"describe from {relation}").fetchall()]

    def _sum(self, relation: str, columns: Iterable[str]) -> dict[str, _Sum]:
        """Of a claim that one side does not have, every row has NULL."""
        present = set(self._columns(relation))
        values = ", ".join(identifier(name) if name in present else "null" for name in columns)
        rows = self._connection.execute(
            f"select coalesce(lake_partition, ''), count(*), sum(hash({values})) from {relation} group by all"
        ).fetchall()
        return {date: _Sum(count, hashes) for date, count, hashes in rows}

    def _find_missing(self, read: Ledger, newer: Collection[str]) -> None:
        """Days whose files the warehouse was made of, and that the lake has none of, though raw has them."""
        for date in sorted(self._lake.unmade.intersection(newer)):
            paths = [file.path for file in read.files("lake_events") if file.lake_partition == date]
            if paths and not (self._home.root / paths[0]).exists():
                reason = "is missing, and the published warehouse was made of it"
                way_out = "`embed-analytics publish` makes it again from raw."
                self._checked.findings.append(Finding("lake", paths[0], date, reason, Since(), way_out))

    def _differs(
        self,
        model: Model,
        date: str,
        made: _Sum | None,
        held: _Sum | None,
        newer: Collection[str],
        built_at: datetime,
    ) -> None:
        was_replaced = self._lake.was_replaced(self._home, date)
        if was_replaced or date in newer or date in _newer(self._home, ledger.read(self._connection)):
            if not any(each.date == date and each.layer == "warehouse" for each in self._checked.waiting):
                reason = "the lake has changed since the warehouse was published"
                self._checked.waiting.append(Waiting("warehouse", date, reason))
            return
        count, in_lake = held.rows if held else 0, made.rows if made else 0
        how = f"{count} rows, and the lake {in_lake}" if count != in_lake else f"other rows among its {count}"
        reason = f"has in {model.name} for {date} {how}"
        since = Since(after=f"{built_at:%Y-%m-%dT%H:%M:%S.%fZ}")
        self._checked.findings.append(Finding("warehouse", _PATH, date, reason, since, _ANEW))


def _newer(home: Home, read: Ledger) -> set[str]:
    """The partitions whose files are not those that the warehouse was made of. Copying a home changes inodes alone."""

    def by_partition(files: Iterable[ledger.SourceFile]) -> dict[str, set[tuple[str, int, int]]]:
        found: dict[str, set[tuple[str, int, int]]] = {}
        for file in files:
            found.setdefault(file.lake_partition, set()).add((file.path, file.size, file.mtime_ns))
        return found

    then, now = by_partition(read.files(*LAKE_KINDS)), by_partition(ledger.lake_files(home))
    return {date for date in then.keys() | now.keys() if then.get(date) != now.get(date)}
