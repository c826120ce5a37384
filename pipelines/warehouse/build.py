"""Builds the warehouse, from nothing or from the build before, checks it, and publishes it in one step.

The published file is only ever read. The caller holds the home's writer lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex

import duckdb

from pipelines.chain import chain
from pipelines.home.code_version import code_version
from pipelines.home.full_disk import is_full_disk
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home
from pipelines.home.times import start_of_kept, utc_now
from pipelines.settings import Settings
from pipelines.warehouse import continuing, findings, ledger, passed_checks, published_record, published_state, sources
from pipelines.warehouse.bounded import create_within, memory_limit, rows_at_once
from pipelines.warehouse.build_report import (
    BuildCheckFailedError,
    BuildOutOfMemoryError,
    BuildReport,
    OnProgress,
    Phases,
)
from pipelines.warehouse.changes import Changes
from pipelines.warehouse.checks import load_checks, require_acknowledgeable
from pipelines.warehouse.continuing import Begun, changed_partitions
from pipelines.warehouse.contracts import noted_units
from pipelines.warehouse.functions import create_functions
from pipelines.warehouse.ledger import FLAT_KINDS, Ledger
from pipelines.warehouse.literals import quoted
from pipelines.warehouse.macros import create_macros
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import downstream_of, load_models
from pipelines.warehouse.parameters import TIMES, Parameters
from pipelines.warehouse.publish import BUILT_AT, Publication
from pipelines.warehouse.published import first_line
from pipelines.warehouse.published_state import PublishedState
from pipelines.warehouse.refresh import Refresh
from pipelines.warehouse.run_checks import CheckResult, run_checks
from pipelines.warehouse.sources import BuildFacts
from pipelines.warehouse.sql_errors import ContinuationError
from pipelines.warehouse.tables import comment, count_rows, drop
from pipelines.warehouse.versions import check_versions_of, versions_of


@dataclass(frozen=True)
class BuildOptions:
    """A build's input besides the home: the settings, which reach SQL as Parameters, and the version of the code."""

    settings: Settings = field(default_factory=Settings.defaults)
    code_version: str = field(default_factory=code_version)


def build(
    home: Home,
    options: BuildOptions,
    *,
    full_refresh: bool = False,
    full_reason: str | None = None,
    check_everything: bool = False,
    on_progress: OnProgress | None = None,
    on_damage: Callable[[str], None] | None = None,
) -> BuildReport:
    """Build, check and publish the warehouse of a home.

    Only what changed since the published build is computed again. Everything is computed with `full_refresh`, whose
    cause `full_reason` may name, and when the published build cannot be continued (`BuildReport.full_reason` says
    why). `on_damage` is called before such a build where something happened to the published file: it gets what did. A
    full build and `check_everything` check every row; a refresh checks the changed ones, where the check holds for the
    others. Raises CheckFailedError (with `.report`) when a blocking check found rows. After any failure the published
    file is as it was.
    """
    phases = Phases(on_progress)
    built_at = utc_now()
    publication = Publication(home, f"{built_at:{BUILT_AT}}-{token_hex(3)}")
    open_home(home)
    publication.require_replaceable()
    require_acknowledgeable(options.settings.embed_analytics_acknowledged, load_checks())
    publication.clean()
    with phases("scan"):
        published, damage = _read_published(home)
        if damage is not None and not full_refresh:
            if on_damage is not None:
                on_damage(damage)
            full_refresh, full_reason = True, damage
        # Who asks for everything has every file's bytes looked at, too.
        known = None if published is None or full_refresh or check_everything else published.ledger
        found = ledger.scan(home, known)
        versions = versions_of(load_models(), Parameters.from_settings(options.settings))
        full_reason = full_reason or "asked for" if full_refresh else _reason_for_full(published, found, versions)

    def run(*, may_recycle: bool) -> BuildReport:
        job = _Build(home, options, publication, None if full_reason else published, found, versions, phases)
        try:
            return job.run(built_at, published, full_reason, looks_at_all=looks_at_all, may_recycle=may_recycle)
        except duckdb.OutOfMemoryException as error:
            raise BuildOutOfMemoryError(first_line(error)) from error
        except (duckdb.Error, ContinuationError) as error:
            if job.is_recycled and not is_full_disk(error):
                # What is wrong may be in that file alone.
                publication.clean()
                return run(may_recycle=False)
            if job.continued is None or isinstance(error, ContinuationError):
                raise
            raise ContinuationError(f"The published build cannot be continued: {first_line(error)}") from error

    looks_at_all = full_reason is not None or check_everything
    with publication.kept_if_it_fails():
        return run(may_recycle=not looks_at_all)


def _read_published(home: Home) -> tuple[PublishedState | None, str | None]:
    """The state of the published warehouse, and why it cannot be continued: something happened to the file.

    It may have been changed, it may be broken, or a client may hold it open for writing. The next build then starts
    from nothing.
    """
    recorded = published_record.find_published(home)
    damage = published_record.published_damage(home, recorded)
    try:
        state = published_state.read_published(home)
    except duckdb.Error as error:
        return None, damage or f"cannot be read ({first_line(error)})"
    # Two builds made alike may have the same headers.
    if recorded is not None and (state is None or state.build_id != recorded.build_id):
        damage = "is not the build that was published"
    return state, damage


def _reason_for_full(published: PublishedState | None, found: Ledger, versions: Mapping[str, str]) -> str | None:
    if published is None:
        return "nothing to continue has been published"
    if published.builder_version != published_state.BUILDER_VERSION:
        return "another version of the builder"
    if published.ledger.claim_columns != found.claim_columns:
        return "other claim columns in the lake"
    for model in load_models():
        if model.kind.is_staging and published.model_versions.get(model.name) != versions[model.name]:
            return f"{model.name} is another model"
    return None


class _Build:
    """One build, on one connection."""

    def __init__(
        self,
        home: Home,
        options: BuildOptions,
        publication: Publication,
        continued: PublishedState | None,
        found: Ledger,
        versions: Mapping[str, str],
        phases: Phases,
    ) -> None:
        self.home = home
        self.options = options
        self.publication = publication
        self.continued = continued
        self.found = found
        self.versions = versions
        self.phases = phases
        self.acknowledged = options.settings.embed_analytics_acknowledged
        self.check_versions = check_versions_of(
            load_checks(), Parameters.from_settings(options.settings), self.acknowledged
        )
        self.models = {model.name: model for model in load_models()}
        models = list(self.models.values())
        scoped = ((check.scope, check.depends_on) for check in load_checks() if check.scope != "whole")
        self.noted = noted_units(self.models, scoped)
        self.is_recycled = False
        self.changes: Changes | None = None
        self.passed: tuple[datetime, datetime] | None = None
        self.rows_at_once = 0
        # Models to make from nothing. A refresh narrows this to those that changed, and the models that read them.
        self.stale: set[str] = set(self.models)
        self.staging = [model for model in models if model.kind.is_staging]
        # What tells of the build itself comes when all else is counted.
        last = downstream_of({model.name for model in models if "table_rows" in model.sources}, models)
        self.last = [model for model in models if model.name in last]
        self.middle = [model for model in models if not model.kind.is_staging and model.name not in last]

    def run(
        self,
        built_at: datetime,
        published: PublishedState | None,
        full_reason: str | None,
        *,
        looks_at_all: bool,
        may_recycle: bool,
    ) -> BuildReport:
        """Build, check, close and publish. Raises BuildCheckFailedError before anything is published."""
        facts = BuildFacts(
            self.publication.build_id,
            built_at,
            self.options.code_version,
            self.continued is None,
            None if self.continued is None else self.continued.build_id,
            *_chain_end(self.home),
        )
        with duckdb.connect() as connection:
            begun = self._begin(connection, may_recycle=may_recycle)
            parameters = self._make_tables(connection, facts)
            with self.phases("models"):
                tables = self._make_last(connection, facts)
                # Checks may call them.
                create_macros(connection)
            with self.phases("checks"):
                results = self._run_checks(connection, may_narrow=not looks_at_all)
            with self.phases("write"):
                self._finish(connection, results, is_afresh=begun.is_afresh)
        report = BuildReport(
            facts.build_id,
            facts.is_full,
            full_reason,
            parameters.data_through,
            tables,
            results,
            self.phases.seconds,
            list(self.found.damages.values()),
            begun.copied_bytes,
            is_recycled=begun.is_recycled,
        )
        if any(not result.passed and result.severity == "error" for result in results):
            raise BuildCheckFailedError(report)
        with self.phases("publish"):
            previous = published.build_id if published else None
            keep = self.options.settings.embed_analytics_keep_warehouses
            limit = start_of_kept(self.options.settings.embed_analytics_keep_warehouses_days, built_at)
            self.publication.publish(previous, keep, looks_at_all=looks_at_all, limit=limit)
            held = {result.name: self.check_versions[result.name] for result in results if result.passed}
            may_be_continued = [file.build_id for file in published_record.read(self.home) or ()]
            passed_checks.write(self.home, facts.build_id, held, may_be_continued)
        return report

    def _run_checks(self, connection: duckdb.DuckDBPyConnection, *, may_narrow: bool) -> list[CheckResult]:
        """What every check finds. One that finds rows, or cannot be run, looks at all rows the next time."""
        checks, results = load_checks(), list[CheckResult]()
        narrowed: frozenset[str] = frozenset()
        if self.continued is not None and may_narrow:
            passed = passed_checks.read(self.home, self.continued.build_id)
            narrowed = passed_checks.narrowable(checks, passed, self.check_versions, self.stale)
        try:
            for result in run_checks(
                connection, checks, self.models, self.changes, narrowed=narrowed, acknowledged=self.acknowledged
            ):
                results.append(result)
        finally:
            held = {result.name for result in results if result.passed}
            passed_checks.forget(self.home, self.check_versions.keys() - held)
        return results

    def _begin(self, connection: duckdb.DuckDBPyConnection, *, may_recycle: bool) -> Begun:
        connection.execute(f"set temp_directory = {quoted(self.publication.spill)}")
        connection.execute("set enable_progress_bar = false")
        limit = memory_limit(connection, self.options.settings)
        connection.execute(f"set memory_limit = '{limit}B'")
        self.rows_at_once = rows_at_once(limit)
        begun = continuing.begin(
            connection, self.publication, self.continued, self.found, self.phases, may_recycle=may_recycle
        )
        self.continued, self.is_recycled = begun.continued, begun.is_recycled
        sources.attach(connection)
        create_functions(connection)
        if begun.continued is not None and begun.is_afresh:
            with self.phases("compact"):
                # Another view may read what the published file does not have. It is stale, and made later.
                held = begun.continued.model_versions
                views = [
                    model
                    for model in self.models.values()
                    if model.kind.is_view and held.get(model.name) == self.versions[model.name]
                ]
                continuing.compact(connection, self.home, views)
        return begun

    def _make_tables(self, connection: duckdb.DuckDBPyConnection, facts: BuildFacts) -> Parameters:
        lake_partitions = None if self.continued is None else changed_partitions(self.continued.ledger, self.found)
        with self.phases("sources"):
            sources.create_lake(connection, self.home, self.found, lake_partitions)
            new_files = [
                file
                for file in self.found.files(*FLAT_KINDS)
                if self.continued is None or file not in self.continued.ledger.row_counts
            ]
            sources.create_raw(connection, self.home, new_files)
            sources.create_catalogues(connection, self.home, lake_partitions)
            sources.create_raw_deliveries(connection, self.found)
            sources.create_damaged_raw_files(connection, self.found)
            sources.create_build(connection, facts, {})
            sources.create_home(connection, self.home)
            sources.create_claim_patterns(connection, self.home, self.options.settings)
            # Without a time: what is staged comes before it is known.
            sources.create_parameters(connection, Parameters.from_settings(self.options.settings))
        with self.phases("staging"):
            if lake_partitions is None:
                # Blocks of rows may change places. Each still holds one day or a few, which is what scans prune by.
                connection.execute("set preserve_insertion_order = false")
                self._make(connection, self.staging)
                connection.execute("set preserve_insertion_order = true")
            else:
                self.changes = Changes(connection)
                self.changes.add("lake_partition", "select unnest($1::varchar[])", [sorted(lake_partitions)])
                self.stale = set()
                self._make(connection, self.staging)
        parameters = Parameters.from_settings(self.options.settings, _data_through(connection, facts.built_at))
        sources.create_parameters(connection, parameters)
        with self.phases("models"):
            if self.continued is not None:
                self._find_stale(connection, self.continued, parameters)
            self._make(connection, self.middle)
        return parameters

    def _find_stale(
        self, connection: duckdb.DuckDBPyConnection, continued: PublishedState, parameters: Parameters
    ) -> None:
        """Which models are made from nothing, and what time has passed for the others."""
        changed = {
            model.name
            for model in self.models.values()
            if continued.model_versions.get(model.name) != self.versions[model.name]
        }
        before, now = continued.data_through, parameters.data_through
        if before is not None and now is not None and before <= now:
            self.passed = (before, now)
        elif before != now:
            # There was none before, there is none any more, or an earlier sweep's clock was ahead.
            changed |= {model.name for model in self.models.values() if not set(TIMES).isdisjoint(model.parameters)}
        self.stale = downstream_of(changed, list(self.models.values()))
        for name in continued.model_versions.keys() - self.versions.keys():
            drop(connection, name)

    def _make(self, connection: duckdb.DuckDBPyConnection, models: Sequence[Model]) -> None:
        """Make models, in their order: from nothing, or what changed."""
        if self.changes is None:
            for model in models:
                create_within(connection, model, self.models, self.rows_at_once)
        else:
            refresh = Refresh(connection, self.changes, self.models, self.noted, self.rows_at_once, self.passed)
            refresh.run(models, self.stale)

    def _make_last(self, connection: duckdb.DuckDBPyConnection, facts: BuildFacts) -> dict[str, int]:
        """Make the tables that tell of the build itself. Returns the rows of every table."""
        tables = count_rows(connection, [*self.staging, *self.middle])
        sources.create_build(connection, facts, tables)
        self._make(connection, self.last)
        return dict(sorted((tables | count_rows(connection, self.last)).items()))

    def _finish(
        self, connection: duckdb.DuckDBPyConnection, results: Sequence[CheckResult], *, is_afresh: bool
    ) -> None:
        """Make the comments, and write everything to disk."""
        comment(connection, [*self.staging, *self.middle, *self.last])
        published_state.write(connection, self.found, self.versions)
        findings.write(connection, results)
        connection.execute("checkpoint warehouse")
        if is_afresh:
            published_state.write_fresh_size(connection)
            connection.execute("checkpoint warehouse")
        connection.execute("use memory")
        connection.execute("detach warehouse")


def _chain_end(home: Home) -> tuple[int | None, str | None]:
    """How many links the chain of raw has, and its head; None where its end cannot be read, which stops no build."""
    try:
        head = chain.head_of(home)
    except OSError:
        return None, None
    return head.count, head.digest


def _data_through(connection: duckdb.DuckDBPyConnection, built_at: datetime) -> datetime | None:
    """Start of the latest sweep that listed the embeds and asked all that were due.

    A sweep that began after this build is ignored: its clock was ahead.
    """
    row = connection.execute(
        "select max(started_at) from warehouse.main.meta_sweeps where is_complete and started_at <= $1", [built_at]
    ).fetchone()
    return row[0] if row else None
