"""The index of the events that raw holds, so that only news is landed.

It is a table in the state database, made only from the raw files. It lists the files that it has read. So a file that
landed just before a crash is read in when the index is next opened, and all of them are after the state was deleted.
A damaged file is not listed, so its events land again as far as the API still has them, until the file is mended.
Uuids are stored as hashes (16 bytes of BLAKE2b), which halves the index.
"""

import hashlib
import sqlite3
from pathlib import Path

import polars as pl

from pipelines.home.files import TEMPORARY_PREFIX, file_state
from pipelines.home.layout import Home
from pipelines.home.sealed import find_damage

_SCHEMA = """
-- The state is what tells a file from another one, or from what was written into it since.
create table if not exists held_files (path text primary key, state text) without rowid;
create table if not exists held_events (
    uuid_hash blob not null,
    digest blob not null,
    event_date text not null,
    primary key (uuid_hash, digest)
) without rowid;
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the index's tables where they are missing."""
    connection.executescript(_SCHEMA)
    if "state" not in {name for _, name, *_ in connection.execute("pragma table_info(held_files)")}:
        # Of a former version: what it lists is looked at once.
        connection.execute("alter table held_files add column state text")


def raw_event_files(home: Home) -> list[Path]:
    """Every file of raw/embed_events."""
    return sorted(
        path
        for path in home.raw_embed_events.glob("event_date=*/*.parquet")
        if not path.name.startswith(TEMPORARY_PREFIX)
    )


def absorb_unknown_files(connection: sqlite3.Connection, home: Home) -> tuple[list[Path], bool]:
    """Read the raw files that the index does not know. Returns these files, and whether raw has lost events.

    If a listed file is gone or damaged, say because raw was restored from a backup, the index is built again from
    nothing. Otherwise the events that it wrongly calls held would never land again. The caller commits.
    """
    known: dict[str, str | None] = dict(connection.execute("select path, state from held_files"))
    present = {_name(home, path): path for path in raw_event_files(home)}
    states = {name: file_state(path) for name, path in present.items()}
    changed = {name for name, state in known.items() if name in present and states[name] != state}
    damaged = {name for name in changed if find_damage(present[name])}
    connection.executemany(
        "update held_files set state = ? where path = ?", [(states[name], name) for name in changed - damaged]
    )
    held_count = 0
    if damaged or known.keys() - present.keys():
        held_count = _count(connection)
        connection.execute("delete from held_files")
        connection.execute("delete from held_events")
        known = {}
    unknown = [
        path
        for name, path in present.items()
        if name not in known and name not in damaged and find_damage(path) is None
    ]
    for path in unknown:
        frame = pl.read_parquet(path, columns=["event_uuid", "digest"], glob=False)
        remember(connection, home, path, _keyed(frame), path.parent.name.removeprefix("event_date="))
    # The same events in other files are not a loss.
    return unknown, held_count > 0 and _count(connection) < held_count


def remember(connection: sqlite3.Connection, home: Home, path: Path, news: pl.DataFrame, event_date: str) -> None:
    """Add one landed file and its events (uuid_hash, digest) to the index. The caller commits."""
    connection.execute("insert or ignore into held_files values (?, ?)", (_name(home, path), file_state(path)))
    connection.executemany(
        "insert or ignore into held_events values (?, ?, ?)",
        (
            (uuid_hash, bytes.fromhex(digest), event_date)
            for uuid_hash, digest in news.select("uuid_hash", "digest").iter_rows()
        ),
    )


def classify(connection: sqlite3.Connection, deliveries: pl.DataFrame) -> pl.DataFrame:
    """`deliveries` (event_uuid, digest, plain_digest, event_date, ...) with three more columns.

    uuid_hash. is_news (Boolean): its (uuid, digest) is neither held nor earlier in this frame. is_held (Boolean): some
    version of its uuid is held. If a date already holds the uuid, event_date becomes that date. A delivery that is held
    under its plain digest keeps that, so that a key for digests makes nothing that is held news.
    """
    keyed = _keyed(_nameless_under_held_digests(connection, deliveries))
    held = _held(connection, keyed)
    versions = held.select("uuid_hash", "digest", pl.lit(True).alias("is_held_version"))
    keyed = _under_held_digests(keyed, versions)
    held_dates = held.group_by("uuid_hash").agg(pl.col("held_date").min())
    return (
        keyed.join(versions, on=["uuid_hash", "digest"], how="left", maintain_order="left")
        .join(held_dates, on="uuid_hash", how="left", maintain_order="left")
        .with_columns(
            is_news=pl.col("is_held_version").is_null() & pl.struct("uuid_hash", "digest").is_first_distinct(),
            is_held=pl.col("held_date").is_not_null(),
            # Versions of one uuid that arrive together go to one date, too.
            event_date=pl.coalesce("held_date", pl.col("event_date").first().over("uuid_hash")),
        )
        .drop("is_held_version", "held_date")
    )


def _under_held_digests(keyed: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
    """Deliveries (uuid_hash, digest, plain_digest, ...), those that are held under their plain digest with it."""
    if keyed["plain_digest"].null_count() == keyed.height:
        return keyed
    plain = keyed.select("uuid_hash", pl.col("plain_digest").alias("digest"))
    is_held = plain.join(versions, on=["uuid_hash", "digest"], how="left", maintain_order="left")["is_held_version"]
    return keyed.with_columns(digest=pl.when(is_held).then("plain_digest").otherwise("digest"))


def _nameless_under_held_digests(connection: sqlite3.Connection, deliveries: pl.DataFrame) -> pl.DataFrame:
    """The same for deliveries whose uuid cannot be read, which are known by their digest alone."""
    is_nameless = deliveries["event_uuid"].is_null() & deliveries["plain_digest"].is_not_null()
    if not is_nameless.any():
        return deliveries
    plain = _keyed(
        deliveries.select("event_uuid", "plain_digest", pl.coalesce("plain_digest", "digest").alias("digest"))
    )
    asked = plain.filter(is_nameless)
    known = _held(connection, asked).select("uuid_hash", "digest")
    is_held = is_nameless & plain["uuid_hash"].is_in(known["uuid_hash"].implode())
    return deliveries.with_columns(digest=pl.when(is_held).then("plain_digest").otherwise("digest"))


def _held(connection: sqlite3.Connection, keyed: pl.DataFrame) -> pl.DataFrame:
    """uuid_hash, digest and held_date of every held version of these uuids."""
    connection.execute("create temp table if not exists asked (uuid_hash blob primary key) without rowid")
    connection.execute("delete from asked")
    connection.executemany(
        "insert or ignore into asked values (?)", ((uuid_hash,) for uuid_hash in keyed["uuid_hash"].unique())
    )
    return pl.DataFrame(
        connection.execute(
            "select uuid_hash, lower(hex(digest)), event_date from held_events join asked using (uuid_hash)"
        ).fetchall(),
        schema={"uuid_hash": pl.Binary, "digest": pl.String, "held_date": pl.String},
        orient="row",
    )


def count_by_date(connection: sqlite3.Connection) -> dict[str, int]:
    """How many uuids raw holds, by event date."""
    query = "select event_date, count(distinct uuid_hash) from held_events group by event_date"
    return dict(connection.execute(query).fetchall())


def _count(connection: sqlite3.Connection) -> int:
    return connection.execute("select count(*) from held_events").fetchone()[0]


def _keyed(frame: pl.DataFrame) -> pl.DataFrame:
    # A delivery whose uuid cannot be read is identified by its content.
    identities = frame.select(pl.coalesce("event_uuid", pl.lit("without uuid ") + pl.col("digest"))).to_series()
    hashes = [hashlib.blake2b(identity.encode(), digest_size=16).digest() for identity in identities]
    return frame.with_columns(pl.Series("uuid_hash", hashes, dtype=pl.Binary))


def _name(home: Home, path: Path) -> str:
    return path.relative_to(home.root).as_posix()
