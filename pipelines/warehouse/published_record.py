"""Records what each published file was when it was published, kept ones too (`state/published.json`).

A file that something else wrote to since is not continued: nobody knows what is in it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pipelines.home.files import file_state, write_text
from pipelines.home.layout import Home

# A DuckDB file begins with a main header and two database headers. Each checkpoint writes one of the latter, with the
# number of checkpoints so far. So whatever is changed through DuckDB changes these bytes, even if all that the file
# system says of the file stays.
_HEADER_BYTES = 3 * 4096


@dataclass(frozen=True)
class PublishedFile:
    """One file as it was published: its build, its `file_state` and a digest of its headers.

    `base_build_id`: the last build up to this one that was made from nothing, or that looked at everything.
    """

    build_id: str
    base_build_id: str
    state: str
    header: str

    @classmethod
    def of(cls, path: Path, build_id: str, base_build_id: str) -> Self:
        """What this closed, complete file of this build is now."""
        return cls(build_id, base_build_id, file_state(path), _header_digest(path))

    def is_unchanged(self, path: Path) -> bool:
        """Whether the file at `path` is this file, and nothing wrote to it."""
        return file_state(path) == self.state and _header_digest(path) == self.header


def write(home: Home, files: Iterable[PublishedFile]) -> None:
    """Record these files and no others."""
    write_text(json.dumps({"files": [asdict(file) for file in files]}), record_file(home))


def read(home: Home) -> list[PublishedFile] | None:
    """The recorded files. None where the record is missing, damaged, or of a version that recorded less."""
    try:
        return [PublishedFile(**file) for file in json.loads(record_file(home).read_text(encoding="utf-8"))["files"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def find(home: Home, path: Path) -> PublishedFile | None:
    """The record that this file fits. None where there is no file, no record, or none that it fits."""
    if not path.exists():
        return None
    return next((file for file in read(home) or () if file.is_unchanged(path)), None)


def find_published(home: Home) -> PublishedFile | None:
    """The record that the published file fits."""
    return find(home, home.warehouse)


def published_damage(home: Home, found: PublishedFile | None) -> str | None:
    """What happened to the published file since it was published, where `find_published` found this. None where
    nothing did, or nothing was ever published."""
    if found is not None:
        log = log_file(home)
        is_logged = log.exists() and log.stat().st_size
        return f"has a log beside it, whose changes its readers see ({log.name})" if is_logged else None
    is_recorded = read(home) is not None
    if not home.warehouse.exists():
        return "is missing" if is_recorded else None
    if not home.warehouse.stat().st_size:
        return "is empty"
    if not is_recorded:
        return f"may have changed since it was published ({record_file(home)} is missing, damaged or of an old version)"
    return "is not as it was published"


def is_of_a_build(home: Home) -> bool | None:
    """Whether the published file has the headers of a build that was recorded: nothing wrote to it through DuckDB. A
    copy of a home still has them, though nothing else that the file system says. None where no build is recorded."""
    header = _header_digest(home.warehouse)
    # After the file: what is about to be published is recorded before it gets its name.
    recorded = read(home)
    return None if recorded is None else header in {file.header for file in recorded}


def log_file(home: Home) -> Path:
    """The log that DuckDB writes beside the published file when a client changes it, and leaves when that is killed."""
    return home.warehouse.with_name(f"{home.warehouse.name}.wal")


def record_file(home: Home) -> Path:
    """The file of the record."""
    return home.state / "published.json"


def _header_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(_HEADER_BYTES), digest_size=16).hexdigest()
