"""A keyring: a file of keys, `keys/keys.sqlite`, which the receiver and a refresh use at the same time.

Each subject has random keys of its own, derived from nothing: once they are gone, what they encrypted cannot be read
in any copy of it. A subject is named by a keyed hash. A key has a random id that is never used again: a subject whose
key was lost gets another one, and nobody takes what the lost one encrypted for its. The keys of an erased subject are
NULL, and its row stays, so that what comes of it later is known.

Commits reach the write-ahead log, where other processes see them at once, and the disk when `flush` returns: an fsync
for each of thousands of new subjects would be most of a first backfill.
"""

import hmac
import os
import sqlite3
import threading
import time
import weakref
from base64 import urlsafe_b64encode
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import NamedTuple
from urllib.parse import quote

from pipelines.errors import PermanentError, TransientError
from pipelines.home.files import TEMPORARY_PREFIX, fsync
from pipelines.keys.cipher import KEY_BYTES, Cipher

_SCHEMA = """
create table secrets (name text primary key, value blob not null) without rowid;
create table keys (
    number integer primary key autoincrement,
    key_id text not null unique,
    subject blob not null unique,
    cipher_key blob, nonce_key blob,
    made_at integer not null,
    -- With this, the keys are NULL.
    erased_at integer
);
-- What became of keys after they were made, by whatever program.
create table changes (number integer primary key autoincrement, key_id text not null);
create index changes_by_key on changes (key_id);
create trigger keys_deleted after delete on keys begin insert into changes (key_id) values (old.key_id); end;
create trigger keys_updated after update on keys begin insert into changes (key_id) values (old.key_id); end;
create trigger keys_back after insert on keys when exists (select 1 from changes where key_id = new.key_id)
    begin insert into changes (key_id) values (new.key_id); end;
"""

_ID, _SUBJECTS, _DIGESTS = "id", "subjects", "digests"

# What SQLite says of a file that is locked, or whose disk is full or fails. The low byte of a code is the kind.
_PASSING = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
    | {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)
_BUSY_SECONDS = 20
_MOST_CACHED = 50_000
_LOOKS_EVERY_SECONDS = 0.1


class KeysDamagedError(PermanentError):
    """A file of keys cannot be read. A person may still have a copy of it, so nothing is made in its place."""


class KeysUnavailableError(TransientError):
    """A file of keys cannot be used now: another program has it locked, or its disk is full."""


class Key(NamedTuple):
    """A key of a subject. Without a cipher, the subject was erased."""

    key_id: str
    cipher: Cipher | None


@dataclass(frozen=True)
class Summary:
    """What tells whether keys were lost, changed or came back, without reading all of them."""

    count: int
    last_number: int
    last_key_id: str
    change_count: int


def create(path: Path) -> None:
    """Make a new keyring, whole and durable. If two processes do it at once, the first one's stays."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        fsync(path.parent.parent)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{token_hex(4)}-{path.name}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with errors_named(path), closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_SCHEMA)
            made = {_ID: token_bytes(8), _SUBJECTS: token_bytes(KEY_BYTES), _DIGESTS: token_bytes(KEY_BYTES)}
            connection.executemany("insert into secrets values (?, ?)", made.items())
        fsync(temporary)
        path.hardlink_to(temporary)
    except FileExistsError:
        # Another process was faster.
        pass
    finally:
        temporary.unlink()
    fsync(path.parent)


@contextmanager
def errors_named(path: Path) -> Generator[None]:
    """Raises KeysUnavailableError or KeysDamagedError where SQLite says so."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise KeysUnavailableError(f"{path} cannot be used ({error}): run again once that is over.") from error
        raise KeysDamagedError(
            f"{path} is damaged ({error}): put the copy of your backup in its place. If there is none, move the file "
            "away: what its keys encrypted then reads as erased."
        ) from error


class KeyStore:
    """An open keyring. Threads may share it. Its methods raise KeysUnavailableError and KeysDamagedError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._data_version = -1
        self._looks_again_at = 0.0
        # Keys that this process has met, and how many of them are known to be on the disk.
        self._met_count = self._durable_count = 0
        with errors_named(path):
            # It may not be made here: an empty file would look like a keyring whose keys are lost.
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=rw",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute("pragma secure_delete = on")
            self._connection.execute("pragma synchronous = normal")
            made: dict[str, bytes] = dict(self._connection.execute("select name, value from secrets"))
        # When nobody uses it any more, or earlier: the last one to close it empties the write-ahead log.
        self.close = weakref.finalize(self, self._connection.close)
        self._identity = _identity(path)
        self.keyring = made[_ID].hex()
        self.digest_key = made[_DIGESTS]
        self._subjects_key = made[_SUBJECTS]

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one at its path: it may have been moved away, or replaced by a copy."""
        return _identity(self.path) == self._identity

    def key_of(self, subject: str) -> Key:
        """The key of a subject, made if there is none. Call `flush` before what it encrypts is written anywhere."""
        with self._lock, errors_named(self.path):
            self._forget_what_others_changed()
            key = self._keys.get(subject)
            if key is None:
                key = self._keys[subject] = self._find_or_make(self._name(subject))
                self._met_count += 1
            return key

    def key(self, key_id: str) -> Key | None:
        """The key of this id; None if there is none."""
        with self._lock, errors_named(self.path):
            row = self._connection.execute(
                "select key_id, cipher_key, nonce_key from keys where key_id = ?", (key_id,)
            ).fetchone()
        return None if row is None else _key(*row)

    def flush(self) -> None:
        """Returns when every key that `key_of` has given is on the disk. Raises OSError."""
        met = self._met_count
        if met == self._durable_count:
            return
        # What other processes wrote to these files is on the disk then, too.
        for file in (self.path.with_name(self.path.name + "-wal"), self.path, self.path.parent):
            if file.exists():
                fsync(file)
        self._durable_count = max(self._durable_count, met)

    def erase(self, subject: str) -> None:
        """Forget a subject's keys for good. A subject that is not known yet counts as erased from now on.

        The bytes are overwritten in the file, and cut off from the write-ahead log. Raises KeysUnavailableError if
        another process's open read keeps them there: then it has to be called again.
        """
        with self._lock, errors_named(self.path):
            self._connection.execute(
                "insert into keys (key_id, subject, made_at, erased_at) values (?1, ?2, ?3, ?3) "
                "on conflict (subject) do update set "
                "cipher_key = null, nonce_key = null, erased_at = excluded.erased_at where erased_at is null",
                (_new_id(), self._name(subject), int(time.time())),
            )
            self._keys.pop(subject, None)
            # Without a checkpoint, the pages from before stay in the log.
            (is_busy, *_) = self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        if is_busy:
            raise KeysUnavailableError(f"{self.path} is being read, and its log still has erased keys: run again.")
        fsync(self.path)

    def summary(self) -> Summary:
        with self._lock, errors_named(self.path):
            (count,) = self._connection.execute("select count(*) from keys").fetchone()
            last = self._connection.execute("select number, key_id from keys order by number desc limit 1").fetchone()
            (changes,) = self._connection.execute("select coalesce(max(number), 0) from changes").fetchone()
        number, key_id = last or (0, "")
        return Summary(count, number, key_id, changes)

    def is_same_but_for_new_keys(self, former: Summary) -> bool:
        """Whether no key was lost, changed or came back since that summary was made of this keyring."""
        with self._lock, errors_named(self.path):
            held = self._connection.execute(
                "select count(*), max(number) filter (where key_id = ?), "
                "(select coalesce(max(number), 0) from changes) from keys where number <= ?",
                (former.last_key_id, former.last_number),
            ).fetchone()
        return held == (former.count, former.last_number or None, former.change_count)

    def _forget_what_others_changed(self) -> None:
        """Another process may have erased a key. What is encrypted until that is noticed reads as erased, too."""
        now = time.monotonic()
        if now >= self._looks_again_at:
            self._looks_again_at = now + _LOOKS_EVERY_SECONDS
            (version,) = self._connection.execute("pragma data_version").fetchone()
            if version != self._data_version or len(self._keys) > _MOST_CACHED:
                self._keys.clear()
                self._data_version = version

    def _name(self, subject: str) -> bytes:
        return hmac.digest(self._subjects_key, subject.encode("utf-8", "surrogatepass"), "sha256")

    def _find_or_make(self, name: bytes) -> Key:
        row: tuple[str, bytes | None, bytes | None] | None
        find = "select key_id, cipher_key, nonce_key from keys where subject = ?"
        row = self._connection.execute(find, (name,)).fetchone()
        if row is None:
            row = _new_id(), token_bytes(KEY_BYTES), token_bytes(KEY_BYTES)
            made = self._connection.execute(
                "insert into keys (key_id, cipher_key, nonce_key, subject, made_at) values (?, ?, ?, ?, ?) "
                "on conflict (subject) do nothing",
                (*row, name, int(time.time())),
            )
            if not made.rowcount:
                # Of two processes that make it at once, both take the first one's.
                row = self._connection.execute(find, (name,)).fetchone()
                assert row is not None, "nobody removes a key"
        return _key(*row)


def _key(key_id: str, cipher_key: bytes | None, nonce_key: bytes | None) -> Key:
    return Key(key_id, None if cipher_key is None or nonce_key is None else Cipher(cipher_key, nonce_key))


def _new_id() -> str:
    return urlsafe_b64encode(token_bytes(12)).decode()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = os.stat(path)  # noqa: PTH116 - it is asked for each token, and a Path costs more than the question
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino
