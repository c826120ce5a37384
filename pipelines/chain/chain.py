"""Reads a home's chain and appends to it. Links lie in `raw/chain/`, in files that are never changed.

A file is written whole or not at all, holds the links that were appended together, and is named by the number of its
first link. So the chain is copied like the rest of raw: what is there does not change.

A file of raw gets its link before it gets its name. So raw never holds a file of ours without a link, and of a writer
that was killed in between the last file of links names what `pipelines.raw.landing` still has to rename.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from pipelines.chain import links
from pipelines.chain.links import EMPTY, BrokenLinkError, Head, Link
from pipelines.chain.signing import load_signer
from pipelines.home.files import TEMPORARY_PREFIX, write_text
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


def links_of(path: Path) -> list[Link]:
    """The links of one file. Raises BrokenLinkError."""
    return [links.read(line) for line in _lines(path)]


def last_links(home: Home) -> list[Link]:
    """The links that were appended last, together, without those that are damaged; none where there is no chain."""
    found: list[Link] = []
    for line in _lines(path) if (path := _last_file(home)) else []:
        with suppress(BrokenLinkError):
            found.append(links.read(line))
    return found


def head_of(home: Home) -> Head:
    """Where the chain ends. A damaged end is one, too: what comes in must land, and `verify` names the damage."""
    path = _last_file(home)
    if path is None:
        return EMPTY
    lines = _lines(path)
    return Head(int(path.stem) + len(lines), hashlib.sha256(lines[-1]).hexdigest())


def append(home: Home, new: Iterable[tuple[str, dict[str, Any]]], at: datetime | None = None) -> Head:
    """Append links, each of a kind and its facts, durably and all at once. Returns the chain's new head.

    Where the home has a key, a last link signs the head. The caller holds the home's writer lock. `at` is naive UTC.
    Raises ConfigurationError where the key cannot be used.
    """
    signer = load_signer(home.signing_key)
    head = first = head_of(home)
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


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


def _sorted(folder: Path) -> list[Path]:
    """What lies in a folder, without what is being written."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX))
    # By name, since comparing paths takes far longer, and a folder may hold thousands.
    return sorted(found, key=attrgetter("name"))
