"""Reads a home's chain and appends to it. Links lie in `raw/chain/`, in files that are never changed.

A file is written whole or not at all, holds the links that were appended together, and is named by the number of its
first link. So the chain is copied like the rest of raw: what is there does not change.

A file of raw gets its link before it gets its name. So raw never holds a file of ours without a link, and of a writer
that was killed in between the last file of links names what is still to be renamed. The next append does that.
"""

import glob
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from pipelines.chain import links
from pipelines.chain.linked_paths import is_in_raw, sha256_of
from pipelines.chain.links import EMPTY, BrokenLinkError, Head, Link
from pipelines.chain.signing import load_signer
from pipelines.home.files import TEMPORARY_PREFIX, put_in_place, write_text
from pipelines.home.layout import Home
from pipelines.home.times import utc_now

SUFFIX = ".jsonl"
# Files of one folder are those whose first link has the same number in these units, so that the last file is found by
# listing two folders.
_NUMBERS_IN_A_FOLDER = 10_000


def link_files(home: Home) -> list[Path]:
    """The files of the chain, in its order."""
    return [path for folder in _sorted(home.raw_chain) for path in _sorted(folder)]


def read_links(home: Home) -> Iterator[Link]:
    """Every link, as it stands there. Raises BrokenLinkError for what is not one; nothing else is looked at."""
    for path in link_files(home):
        yield from links_of(path)


def readable_links(home: Home) -> Iterator[Link]:
    """Every link but those that are damaged, which `verify` names: for work that must go on."""
    for path in link_files(home):
        yield from _readable(_lines(path))


def links_of(path: Path) -> list[Link]:
    """The links of one file. Raises BrokenLinkError."""
    return [links.read(line) for line in _lines(path)]


@dataclass(frozen=True)
class End:
    """Where a chain ends, and the links that were appended last, together, without those that are damaged."""

    head: Head
    links: list[Link]


def end_of(home: Home) -> End:
    """A damaged end is one, too: what comes in must land, and `verify` names the damage."""
    path = _last_file(home)
    if path is None:
        return End(EMPTY, [])
    lines = _lines(path)
    return End(Head(int(path.stem) + len(lines), hashlib.sha256(lines[-1]).hexdigest()), list(_readable(lines)))


def finish(home: Home) -> End:
    """Do what the latest links say and their writer had not done when it was killed; returns the chain's end.

    A file that landed gets its name, one that expired is removed. The caller holds the home's writer lock, and has not
    removed temporary files yet.
    """
    end = end_of(home)
    for link in end.links:
        name, sha256 = link.facts.get("path"), link.facts.get("sha256")
        if link.kind not in ("landed", "expired") or not isinstance(name, str) or not is_in_raw(name):
            continue
        path = home.root / name
        if path.exists():
            if link.kind == "expired" and sha256_of(path) == sha256:
                path.unlink()
        else:
            _name(path, sha256)
    return end


def _name(path: Path, sha256: object) -> None:
    for temporary in path.parent.glob(f"{TEMPORARY_PREFIX}*-{glob.escape(path.name)}"):
        if sha256_of(temporary) == sha256:
            put_in_place(temporary, path)
            return


def head_of(home: Home) -> Head:
    """The head of the chain's end."""
    return end_of(home).head


def has_links(home: Home) -> bool:
    """Whether there is a chain; no file is read."""
    return _last_file(home) is not None


def append(home: Home, new: Iterable[tuple[str, dict[str, Any]]], at: datetime | None = None) -> Head:
    """Append links, each of a kind and its facts, durably and all at once. Returns the chain's new head.

    What the links before say is finished first, since nobody looks at them again. Where the home has a key, a last link
    signs the head. The caller holds the home's writer lock. `at` is naive UTC.
    Raises ConfigurationError where the key cannot be used.
    """
    signer = load_signer(home.signing_key)
    head = first = finish(home).head
    time = f"{at or utc_now():%Y-%m-%dT%H:%M:%S.%fZ}"
    lines: list[bytes] = []
    for kind, facts in new:
        link = links.make(kind, facts, time, head)
        lines.append(link.line)
        head = link.head
    if not lines:
        return head
    if signer is not None:
        link = links.make("signature", signer.sign(head.digest_bytes), time, head)
        lines.append(link.line)
        head = link.head
    text = b"".join(line + b"\n" for line in lines).decode()
    write_text(text, _file(home, first.count))
    return head


def folder_name(number: int) -> str:
    """The folder of the file whose first link has this number."""
    return f"{number // _NUMBERS_IN_A_FOLDER:06d}"


def _file(home: Home, number: int) -> Path:
    return home.raw_chain / folder_name(number) / f"{number:012d}{SUFFIX}"


def _last_file(home: Home) -> Path | None:
    for folder in reversed(_sorted(home.raw_chain)):
        for path in reversed(_sorted(folder)):
            if path.suffix == SUFFIX and path.stem.isdecimal():
                return path
    return None


def _readable(lines: Iterable[bytes]) -> Iterator[Link]:
    for line in lines:
        with suppress(BrokenLinkError):
            yield links.read(line)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


def _sorted(folder: Path) -> list[Path]:
    """What lies in a folder, without what is being written."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX))
    # By name, since comparing paths takes far longer, and a folder may hold thousands.
    return sorted(found, key=attrgetter("name"))
