"""Brings a former published warehouse up to date, or a copy of the published one: only what changed is computed again.

Changed partitions of the lake come from the ledger, changed keys of a `merge` model from the new files of raw. From
there on each model that is refreshed notes what changed in it for the models and checks that are replaced by another
unit: the rows that it had before and the rows that it has now are compared in all their columns. Time changes rows,
too, and the models say when (`time:`).
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import duckdb

from pipelines.home.times import PLAUSIBLE_AHEAD
from pipelines.warehouse import sources
from pipelines.warehouse.bounded import create_within
from pipelines.warehouse.changes import Changes
from pipelines.warehouse.kinds import OBSERVED
from pipelines.warehouse.literals import identifier
from pipelines.warehouse.model import Model, Moment
from pipelines.warehouse.sql_errors import ContinuationError, ModelFailedError, blamed_on
from pipelines.warehouse.tables import create_incoming, replace_rows, shadowed, stored


@dataclass
class Refresh:
    """One refresh. `noted`: the units that are noted for each model.

    `rows_at_once`: see `bounded.create_within`.
    `passed`: data_through before, and now. None where time stood still, or where models that read it are made anew.
    """

    connection: duckdb.DuckDBPyConnection
    changes: Changes
    models: Mapping[str, Model]
    noted: Mapping[str, Collection[str]]
    rows_at_once: int
    passed: tuple[datetime, datetime] | None = None
    _moments: set[tuple[str | None, Moment]] = field(default_factory=set[tuple[str | None, Moment]])

    def run(self, models: Iterable[Model], stale: Collection[str] = ()) -> None:
        """Bring these models up to date, in their order. Those that are stale are made from nothing."""
        for model in models:
            if model.name in stale:
                create_within(self.connection, model, self.models, self.rows_at_once)
            elif not model.kind.is_view:
                self._refresh(model)

    def _refresh(self, model: Model) -> None:
        try:
            self._note_passed_time(model)
            with self._inputs(model):
                create_incoming(self.connection, model)
            replaced = self._replaced(model)
            self._note_changes(model, replaced)
            replace_rows(self.connection, model, replaced)
        except ModelFailedError as error:
            # It could be run before: the rows that it meets now may be what is wrong.
            raise ContinuationError(str(error)) from error

    def _inputs(self, model: Model) -> AbstractContextManager[None]:
        if model.kind.is_merged:
            sources.show_held(self.connection, _observed(model), model.name, model.grain)
        if model.kind.unit is None:
            return nullcontext()
        return shadowed(self.connection, model.depends_on, self.models, self.changes.predicate(model.kind.unit))

    def _replaced(self, model: Model) -> str:
        """The predicate for the rows that `incoming` replaces."""
        if model.kind.unit is not None:
            return self.changes.predicate(model.kind.unit)
        if model.kind.is_merged:
            key = ", ".join(map(identifier, model.grain))
            return f"({key}) in (select ({key}) from source.new_{_observed(model)})"
        return "true"

    def _note_changes(self, model: Model, replaced: str) -> None:
        """Whole partitions and whole tables are replaced when one row is new: only values whose rows differ changed."""
        units = sorted(set(self.noted[model.name]) - {model.kind.unit})
        if not units:
            return
        key = ", ".join(units)

        def digests(rows: str) -> str:
            return f"""
                select {key}, sum(digest::hugeint) as digest, count(*) as row_count
                from (select {key}, hash(held) as digest from {rows} as held) group by all
            """

        self.connection.execute(f"""
            create or replace temp table changed_rows as
            select {key}
            from ({digests(f"(from {stored(model.name)} where {replaced})")}) as held
            full join ({digests("temp.main.incoming")}) as fresh using ({key})
            where held.digest is distinct from fresh.digest or held.row_count is distinct from fresh.row_count
        """)
        for unit in units:
            self.changes.add(unit, f"select {unit} from temp.main.changed_rows")

    def _note_passed_time(self, model: Model) -> None:
        unit = model.kind.unit
        if self.passed is None or unit is None:
            return
        for moment in model.moments:
            if (unit, moment) in self._moments:
                continue
            self._moments.add((unit, moment))
            ahead = PLAUSIBLE_AHEAD if moment.parameter == "plausible_until" else None
            before, now = (time if ahead is None else time + ahead for time in self.passed)
            with blamed_on(model.file, lines_before=None):
                self.changes.add(
                    unit,
                    f"select {moment.table}.{unit} from {stored(moment.table)} as {moment.table} "
                    f"cross join source.parameters where ({moment.sql}) between $1 and $2",
                    [before, now],
                )


def _observed(model: Model) -> str:
    (source,) = OBSERVED.intersection(model.sources)
    return source
