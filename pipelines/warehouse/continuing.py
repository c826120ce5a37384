"""How the file of a build begins: empty, as the spare, as a copy of the published file, or with its rows written anew.

The spare has missed what was published since it was made, and the build replays that with what is new. So it is taken
where that is less work than copying.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from pipelines.home.layout import Home
from pipelines.warehouse import published_state, spare
from pipelines.warehouse.build_report import Phases
from pipelines.warehouse.ledger import LAKE_KINDS, Ledger
from pipelines.warehouse.literals import identifier, quoted
from pipelines.warehouse.model import Model
from pipelines.warehouse.publish import Publication
from pipelines.warehouse.published_state import PublishedState
from pipelines.warehouse.tables import create_whole

# Older clients open this storage version (docs/architecture.md, invariant 4).
STORAGE_VERSION = "v1.0.0"

# Replaying an event takes as long as copying the file's share of this many.
_COPIED_IN_THE_TIME = 30


@dataclass(frozen=True)
class Begun:
    """The file of a build, attached as `warehouse`.

    `continued` is the state that it has; None where it is empty, as `is_afresh` it may be with something to continue:
    then the published rows are yet to be written to it (`compact`).
    """

    continued: PublishedState | None
    is_afresh: bool
    copied_bytes: int = 0
    is_recycled: bool = False


def begin(
    connection: duckdb.DuckDBPyConnection,
    publication: Publication,
    published: PublishedState | None,
    found: Ledger,
    phases: Phases,
    *,
    may_recycle: bool,
) -> Begun:
    """Begin the file, to continue this published build; None begins it empty. `found`: what the build will read."""
    if published is not None and may_recycle:
        with phases("recycle"):
            recycled = _recycle(connection, publication, published, found)
        if recycled is not None:
            return Begun(recycled, is_afresh=False, is_recycled=True)
    # It would not be taken later, and takes room.
    spare.drop(publication.home)
    if published is None or published.is_bloated:
        _attach(connection, publication)
        return Begun(published, is_afresh=True)
    with phases("copy"):
        copied = publication.copy_published()
    _continue(connection, publication)
    return Begun(published, is_afresh=False, copied_bytes=copied)


def compact(connection: duckdb.DuckDBPyConnection, home: Home, views: Sequence[Model]) -> int:
    """Copy the published rows table by table, which frees the space that deleted rows still occupy. Returns the bytes
    of the published file."""
    connection.execute(f"attach {quoted(home.warehouse)} as published (read_only)")
    connection.execute("create schema warehouse.builder")
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = 'published' "
        "and schema_name in ('main', 'builder')"
    ).fetchall()
    for schema, table in tables:
        name = f"{schema}.{identifier(table)}"
        connection.execute(f"create table warehouse.{name} as from published.{name}")
    connection.execute("detach published")
    for model in views:
        create_whole(connection, model)
    return home.warehouse.stat().st_size


def changed_partitions(before: Ledger, now: Ledger) -> set[str]:
    """The lake_partition of every lake file that is new, replaced or gone."""
    differing = set(before.files(*LAKE_KINDS)) ^ set(now.files(*LAKE_KINDS))
    return {file.lake_partition for file in differing}


def _recycle(
    connection: duckdb.DuckDBPyConnection, publication: Publication, published: PublishedState, found: Ledger
) -> PublishedState | None:
    """Begin with the spare. None where there is none that may be written to, or copying is less work."""
    build_id = spare.take(publication.home, publication.building)
    if build_id is None:
        return None
    try:
        _continue(connection, publication)
    except duckdb.Error:
        # DuckDB cannot read it, or a client of DuckDB holds its lock.
        state = None
    else:
        state = published_state.read(connection, publication.building.stat().st_size)
        if state is not None and state.build_id == build_id and _is_less_work(state, published, found):
            return state
        connection.execute("use memory")
        connection.execute("detach warehouse")
    connection.execute("reset checkpoint_threshold")
    publication.clean()
    return None


def _is_less_work(former: PublishedState, published: PublishedState, found: Ledger) -> bool:
    if (
        former.is_bloated
        or former.builder_version != published_state.BUILDER_VERSION
        or former.model_versions != published.model_versions
        or former.ledger.claim_columns != found.claim_columns
        or (former.data_through is None and published.data_through is not None)
    ):
        return False
    missed = changed_partitions(former.ledger, found) - changed_partitions(published.ledger, found)
    replayed = sum(found.row_counts[file] for file in found.files("lake_events") if file.lake_partition in missed)
    return replayed * _COPIED_IN_THE_TIME <= published.staged_rows


def _continue(connection: duckdb.DuckDBPyConnection, publication: Publication) -> None:
    # One checkpoint at the end writes each block once; checkpoints on the way would write some of them again.
    # A build from nothing keeps them: rows of a whole table are read faster from a checkpoint.
    connection.execute("set checkpoint_threshold = '1TB'")
    _attach(connection, publication)


def _attach(connection: duckdb.DuckDBPyConnection, publication: Publication) -> None:
    # A log would let a build go on after a crash. A crashed build is thrown away and begun again.
    connection.execute(
        f"attach {quoted(publication.building)} as warehouse "
        f"(storage_version {quoted(STORAGE_VERSION)}, recovery_mode no_wal_writes)"
    )
    connection.execute("use warehouse")
