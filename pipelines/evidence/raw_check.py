"""Compares every file of raw with its link.

The chain's snapshot is older than the list of files: a link comes before its file's name, so that each file that a
running writer has named by then has a link, in the snapshot or behind it. What later links name is left to the next
verification, and so are the last append's files that a writer has not named yet.
"""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain as chained
from pathlib import Path

import orjson
import polars as pl

from pipelines.chain.file_links import roots_of
from pipelines.chain.linked_paths import sha256_of
from pipelines.chain.links import Head, Link
from pipelines.evidence.chain_check import Append, ReadChain, links_after
from pipelines.evidence.findings import Checked, Finding, Since
from pipelines.evidence.linked_files import LinkedFiles, linked_files
from pipelines.home.files import TEMPORARY_PREFIX
from pipelines.home.layout import Home, event_date_of

OnProgress = Callable[[int, int], None]

_THREADS = 2

_RESTORE = "Put it back from a backup of raw; the vendor may no longer have these events."
_ACCEPT = "Find out who put it there; `embed-analytics verify --accept --reason TEXT` takes it into the chain as it is."


@dataclass
class CheckedRaw:
    """What the comparison found. `dates` are the event dates whose raw is not as it was linked."""

    checked: Checked
    linked: LinkedFiles
    unlinked: list[str] = field(default_factory=list[str])
    """Paths of files without a link, below the home."""
    last_clean: Link | None = None
    """The link of the last verification that found nothing."""

    @property
    def dates(self) -> set[str]:
        return {finding.date for finding in self.checked.findings if finding.date is not None}


@dataclass(frozen=True)
class _Found:
    """What a file is now. `sha256` is None where it cannot be read."""

    bytes: int
    sha256: str | None
    rows: tuple[int, str] | None = None


def check_raw(
    home: Home, read: ReadChain, *, with_rows: bool = False, on_progress: OnProgress = lambda _done, _all: None
) -> CheckedRaw:
    """Compare raw with a chain that was read before. `with_rows` also reads every row again: its count and root.

    `on_progress` gets the bytes that were read and those of all files.
    """
    checked = Checked()
    linked = linked_files(read.links, checked)
    result = CheckedRaw(checked, linked, last_clean=_last_clean(home, linked))
    files = {path.relative_to(home.root).as_posix(): path for path in raw_tree(home)}
    if files and not read.appends:
        checked.findings.append(_no_chain(home, len(files)))
        return result
    found = _read_files(files, linked.held if with_rows else {}, on_progress)
    wrong = [path for path, link in linked.held.items() if not _fits(link, found.get(path), with_rows=with_rows)]
    unlinked = [path for path in found if path not in linked.held]
    touched = _touched_since(home, read.head, linked) if wrong or unlinked else frozenset[str]()
    pending = _pending(home, read.appends[-1], linked) if read.appends else frozenset[str]()
    _Judge(result, found, files).judge(
        [path for path in wrong if path not in touched and path not in pending],
        [path for path in unlinked if path not in touched and path not in pending],
    )
    if left := pending.intersection([*wrong, *unlinked]):
        checked.notes.append(f"{len(left)} files of the last append are not in place yet: the next writer does that.")
    _check_accesses(home, linked, touched, checked)
    whole = len(linked.held) - len(wrong)
    size = sum(each.bytes for path, each in found.items() if path in linked.held)
    rows = ", and so are the rows in them" if with_rows else ""
    checked.proven.append(f"{whole:,} files of raw ({size:,} bytes) are as their links say{rows}.")
    return result


def _no_chain(home: Home, count: int) -> Finding:
    reason = f"does not exist, and raw holds {count} files"
    way_out = (
        "Put it back from a backup. If there never was one, since an older version made this home, the next refresh or "
        "`embed-analytics publish` begins it."
    )
    return Finding("raw", home.raw_chain.relative_to(home.root).as_posix(), None, reason, Since(), way_out)


def raw_tree(home: Home) -> Iterator[Path]:
    """Every file below raw but the chain, the details of accesses, the names of keyrings, and what is being written.
    Links are followed."""
    apart = {home.raw_chain, home.raw_access, home.raw_keyrings}
    seen: set[tuple[int, int]] = set()
    folders = [home.root / "raw"]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(TEMPORARY_PREFIX) or path in apart:
                continue
            if not entry.is_dir():
                yield path
                continue
            about = entry.stat()
            # A folder that is a link to one above it would never end.
            if (about.st_dev, about.st_ino) not in seen:
                seen.add((about.st_dev, about.st_ino))
                folders.append(path)


def _read_files(files: Mapping[str, Path], with_rows: Mapping[str, Link], on_progress: OnProgress) -> dict[str, _Found]:
    """What the files are now. Two threads: hashing does not hold Python's lock."""
    sizes = {name: _size(path) for name, path in files.items()}
    total, done = sum(sizes.values()), 0
    found: dict[str, _Found] = {}
    names = sorted(files)

    def look(name: str) -> _Found | None:
        return _look(files[name], with_rows=name in with_rows)

    with ThreadPoolExecutor(_THREADS) as pool:
        for name, each in zip(names, pool.map(look, names), strict=True):
            if each is not None:
                found[name] = each
            done += sizes[name]
            on_progress(done, total)
    return found


def _look(path: Path, *, with_rows: bool = False) -> _Found | None:
    try:
        about = path.stat()
        # Reading a pipe would wait for ever.
        if not stat.S_ISREG(about.st_mode):
            return _Found(0, None)
        size, sha256 = about.st_size, sha256_of(path)
    except FileNotFoundError:
        return None
    except OSError:
        return _Found(0, None)
    return _Found(size, sha256, _rows(path) if with_rows else None)


def _rows(path: Path) -> tuple[int, str] | None:
    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    return frame.height, roots_of([frame])[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _fits(link: Link, found: _Found | None, *, with_rows: bool = False) -> bool:
    if found is None or found.sha256 != link.facts["sha256"] or found.bytes != link.facts["bytes"]:
        return False
    # A file that could not be read when it was found has neither.
    stated = (link.facts["rows"], link.facts.get("root"))
    return not with_rows or stated == (None, None) or stated == found.rows


def _touched_since(home: Home, head: Head, linked: LinkedFiles) -> frozenset[str]:
    """Paths that links name which were appended since."""
    by_number = {link.number: path for path, link in linked.held.items()}
    touched: set[str] = set()
    for link in links_after(home, head):
        if isinstance(path := link.facts.get("path"), str):
            touched.add(path)
        if isinstance(replaces := link.facts.get("replaces"), int) and replaces in by_number:
            touched.add(by_number[replaces])
    return frozenset(touched)


def _pending(home: Home, last: Append, linked: LinkedFiles) -> frozenset[str]:
    """Paths of the last append that its writer is still busy with: links stand there before files change."""
    pending: set[str] = set()
    for link in last.links:
        path = link.facts.get("path")
        if not isinstance(path, str):
            continue
        is_held, is_gone = linked.held.get(path) is link, linked.gone.get(path) is link
        is_busy = is_held and (link.kind == "replaced" or _is_to_be_named(home.root / path, link))
        if is_gone or is_busy:
            pending.add(path)
    return frozenset(pending)


def _is_to_be_named(path: Path, link: Link) -> bool:
    """Whether a file that has a link has only the name that it was written under, or got its own just now."""
    if path.exists():
        return _fits(link, _look(path))
    names = [name for name in _names(path.parent) if name.startswith(TEMPORARY_PREFIX)]
    is_written = any(_fits(link, _look(path.with_name(name))) for name in names if name.endswith(f"-{path.name}"))
    return is_written or _fits(link, _look(path))


def _names(folder: Path) -> Collection[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone
    except OSError:
        return ()


@dataclass
class _Judge:
    """Makes findings of the files that are not as the chain says."""

    result: CheckedRaw
    found: Mapping[str, _Found]
    files: Mapping[str, Path]

    def judge(self, wrong: Collection[str], unlinked: Collection[str]) -> None:
        held = self.result.linked.held
        links_of: dict[str, str] = {link.facts["sha256"]: path for path, link in held.items()}
        missing: defaultdict[str | None, list[str]] = defaultdict(list)
        for path in sorted(set(wrong) - self.found.keys()):
            missing[held[path].facts["sha256"]].append(path)
        for path in unlinked:
            each = self.found[path]
            if of_same_bytes := missing.get(each.sha256):
                moved = of_same_bytes.pop()
                self._add(moved, f"has another name now: {path}", held[moved], f"Give it back its name, {moved}.")
            elif (gone := self.result.linked.gone.get(path)) is not None:
                self._add(
                    path, f"is there, and link {gone.number} ({gone.kind}) says that it was removed", gone, _ACCEPT
                )
            else:
                self.result.unlinked.append(path)
                written = _written_at(self.files[path])
                self._add(path, f"has no link{written}: something else put it there", None, _ACCEPT)
        for path in chained.from_iterable(missing.values()):
            self._add(path, "is missing", held[path], _RESTORE)
        for path in wrong:
            if path in self.found:
                self._add(path, self._change(path, held[path], links_of), held[path], _RESTORE)

    def _change(self, path: str, link: Link, links_of: Mapping[str, str]) -> str:
        each = self.found[path]
        if each.sha256 is None:
            return "cannot be read"
        if (other := links_of.get(each.sha256)) is not None and other != path:
            return f"holds what {other} should hold"
        if each.sha256 == link.facts["sha256"]:
            return "holds other rows than its link says, in the same bytes: the link is wrong, or was made otherwise"
        size, stated = each.bytes, link.facts["bytes"]
        was = "was changed" if size == stated else f"has {size} bytes instead of {stated}"
        return f"{was}{_written_at(self.files[path])}"

    def _add(self, path: str, reason: str, link: Link | None, way_out: str) -> None:
        clean = self.result.last_clean
        known = clean if clean is not None and link is not None and clean.number > link.number else link
        date = next((date for part in Path(path).parts if (date := event_date_of(part)) is not None), None)
        self.result.checked.findings.append(Finding("raw", path, date, reason, Since.between(known, None), way_out))


def _written_at(path: Path) -> str:
    """What the file system says of the time. Whoever changes a file can also set it."""
    try:
        at = path.stat().st_mtime
    except OSError:
        return ""
    return f" (written at {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}, says the file system)"


def _check_accesses(home: Home, linked: LinkedFiles, touched: Collection[str], checked: Checked) -> None:
    """The details of accesses: each file is named by its digest."""
    names = {name for name in _names(home.raw_access) if not name.startswith(TEMPORARY_PREFIX)}
    for name in sorted(names):
        path = home.raw_access / name
        link = linked.accesses.get(path.stem)
        try:
            fits = path.suffix == ".json" and hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        except OSError:
            fits = False
        if not fits:
            shown = path.relative_to(home.root).as_posix()
            reason = "is not what its name says: who asked, and why, was changed"
            checked.findings.append(Finding("raw", shown, None, reason, Since.between(link, None), _RESTORE))
    if gone := [link for details, link in linked.accesses.items() if f"{details}.json" not in names]:
        checked.notes.append(
            f"{len(gone)} links say that somebody asked for evidence, and who it was is not there any more (the last "
            f"is link {gone[-1].number}, {gone[-1].at}): it was erased, or somebody removed it."
        )


def _last_clean(home: Home, linked: LinkedFiles) -> Link | None:
    """The link of the last verification that found nothing: until then all was as it should be."""
    for details, link in reversed(linked.accesses.items()):
        path = home.raw_access / f"{details}.json"
        try:
            text = path.read_bytes()
            content = orjson.loads(text)
            if (content["command"], content["about"].get("findings")) != ("verify", 0):
                continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if hashlib.sha256(text).hexdigest() == details:
            return link
    return None
