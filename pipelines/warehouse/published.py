"""Reading the published warehouse."""

from collections.abc import Collection
from pathlib import Path

import duckdb

from pipelines.errors import PermanentError, WarehouseMissingError
from pipelines.home.files import file_state
from pipelines.home.layout import Home
from pipelines.warehouse.literals import identifier, quoted


def connect_published(home: Home) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the warehouse as it is published now. It keeps this snapshot when a newer one follows.

    The file is attached to a fresh in-memory instance, because `duckdb.connect(path)` would return an instance that
    this process opened before the file was replaced. Raises WarehouseMissingError when nothing has been published.

    DuckDB opens a file by its name twice, for the header and then for the rest. Where it was replaced in between, it
    has the header of one file and the blocks of another. So what it opened counts only if the file is still the same.
    """
    while home.warehouse.exists():
        opened = file_state(home.warehouse)
        connection = duckdb.connect()
        try:
            connection.execute(f"attach {quoted(home.warehouse)} as warehouse (read_only)")
            connection.execute("use warehouse")
        except BaseException as error:
            connection.close()
            if not isinstance(error, duckdb.Error) or file_state(home.warehouse) == opened:
                raise
            continue
        if file_state(home.warehouse) == opened:
            return connection
        connection.close()
    raise WarehouseMissingError(f"There is no warehouse at {home.warehouse} yet: run `embed-analytics refresh` first.")


def unreadable_part(home: Home, *, without: Collection[str] = ()) -> str | None:
    """What DuckDB says of the first block of the published file that it cannot read; None when it can read them all.

    Models in `without` are left out.

    Every block in use is read, and DuckDB compares its checksum.
    """
    try:
        connection = connect_published(home)
    except duckdb.Error as error:
        return first_line(error)
    with connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'warehouse'"
        ).fetchall()
        for schema, table in tables:
            if schema == "main" and table in without:
                continue
            rows = f"warehouse.{identifier(schema)}.{identifier(table)}"
            try:
                connection.execute(f"select sum(hash(held)) from {rows} as held").fetchall()
            except duckdb.Error as error:
                return f"{schema}.{table}: {first_line(error)}"
    return None


def unreadable(home: Home, error: duckdb.Error) -> PermanentError:
    """The error to raise where DuckDB cannot open the published file, or finds something missing in it."""
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return PermanentError(
            f"{home.warehouse} was published by another version and lacks what is asked of it ({first_line(error)}): "
            "`embed-analytics publish` brings it up to date."
        )
    return PermanentError(
        f"{home.warehouse} cannot be read ({first_line(error)}): `embed-analytics publish` builds it anew."
    )


def first_line(error: BaseException) -> str:
    """DuckDB's errors go on with advice, and with its own stack."""
    return str(error).strip().splitlines()[0]


def seal(connection: duckdb.DuckDBPyConnection, spill: Path | None) -> None:
    """Stop SQL on this connection from reaching files, loading extensions and changing settings, for good.

    With `spill`, a folder for what does not fit in memory, DuckDB can still open that folder's files, the attached file
    and the log beside it. Without it, DuckDB can open nothing any more.
    """
    if spill is not None:
        connection.execute(f"set temp_directory = {quoted(spill)}")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    connection.execute("set allow_community_extensions = false")
    connection.execute("set enable_external_access = false")
    if spill is None:
        connection.execute("set disabled_filesystems = 'LocalFileSystem'")
    connection.execute("set lock_configuration = true")
