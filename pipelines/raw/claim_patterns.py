"""Which patterns of the claim policy fitted a claim of a token that was read: a table of the state database.

What the policy drops reaches no raw file: so this is noted where tokens are read. It names patterns, and no claim. The
table can be lost: a state that is made anew lists every embed, and so reads again every token that the source has.
"""

import sqlite3
from contextlib import closing

from pipelines.home.layout import Home
from pipelines.oneschema.claim_policy import PatternMatches

_TABLE = "claim_patterns"


def create(connection: sqlite3.Connection) -> bool:
    """Create the table where there is none, and say whether that was so."""
    if _has_table(connection):
        return False
    connection.execute(f"create table {_TABLE} (pattern text primary key, is_matched integer not null) without rowid")
    return True


def remember(connection: sqlite3.Connection, matches: PatternMatches) -> None:
    """Add what was found. The caller commits it together with what was read from the tokens."""
    connection.executemany(
        f"insert into {_TABLE} values (?, ?)"
        " on conflict do update set is_matched = max(is_matched, excluded.is_matched)",
        matches.found.items(),
    )


def read(home: Home) -> dict[str, bool]:
    """By pattern whether it ever fitted a claim; without the patterns under which no token has been read.

    The caller holds the home's writer lock. A damaged state says nothing: who opens it next reports it.
    """
    if not home.poll_state.exists():
        return {}
    with closing(sqlite3.connect(home.poll_state)) as connection:
        try:
            if not _has_table(connection):
                return {}
            return {pattern: bool(found) for pattern, found in connection.execute(f"select * from {_TABLE}")}
        except sqlite3.DatabaseError:
            return {}


def _has_table(connection: sqlite3.Connection) -> bool:
    query = "select count(*) from sqlite_master where type = 'table' and name = ?"
    return connection.execute(query, (_TABLE,)).fetchone()[0] > 0
