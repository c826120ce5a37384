"""A session's rows in raw, as they are hashed, with what leads from each to its file's link in the chain.

Every file of raw is asked whether it has rows of the session; nothing that was made of raw is relied on. Parquet's
statistics answer for most files. Only files that have some are read whole, since a proof needs the digests of all rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import polars as pl

from pipelines.chain import chain, merkle
from pipelines.chain.linked_paths import relative
from pipelines.chain.links import BrokenLinkError, Head, Link
from pipelines.chain.row_texts import row_texts
from pipelines.errors import PermanentError
from pipelines.home.files import TEMPORARY_PREFIX
from pipelines.home.layout import Home
from pipelines.home.sealed import find_damage
from pipelines.oneschema.json_text import loads
from pipelines.oneschema.reading import INTEGER, Unreadable
from pipelines.raw.held import raw_event_files

FILE_KINDS = ("landed", "found", "replaced")
"""The kinds of links that say what a file of raw holds."""

# An event that says its embed in another type than the documented one has it in `odd`.
_ODD_EMBED = pl.col("odd").str.contains('"embed_id":', literal=True).fill_null(value=False)
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class ProvenRow:
    """A row: its text, its place (file below the home, position from 0), its link's number, its Merkle path (hex)."""

    text: bytes
    file: str
    position: int
    link: int
    proof: list[str]


@dataclass(frozen=True)
class LeftOut:
    """A file of raw whose rows are not in the pack, because they cannot be read or not be proven."""

    file: str
    reason: str


@dataclass(frozen=True)
class SessionRows:
    """The rows in the order of their places, and the links of the chain from the first that is needed to its end.

    `access` is the link of who asked.
    """

    rows: list[ProvenRow]
    left_out: list[LeftOut]
    links: list[Link]
    access: Link


@dataclass(frozen=True)
class _File:
    """A file that holds rows of the session: the digests of all its rows, and the texts of its own by position."""

    name: str
    leaves: list[bytes]
    texts: dict[int, bytes]


def read_session_rows(home: Home, embed_id: int, asked: Head) -> SessionRows:
    """All rows of raw/embed_events and raw/embeds that are of this embed, every delivery and version of an event.

    `asked` is the head after the link of who asked. The caller holds the home's writer lock, so that no file goes
    meanwhile. Raises PermanentError where the chain cannot be followed.
    """
    files: list[_File] = []
    left_out: list[LeftOut] = []
    for path in _files_with(home, embed_id):
        if (damage := find_damage(path)) is not None:
            left_out.append(LeftOut(relative(home, path), damage.reason))
        elif (file := _read(home, path, embed_id)) is not None:
            files.append(file)
    links, latest, access = _links_back_to(home, {file.name for file in files}, asked)
    rows: list[ProvenRow] = []
    for file in files:
        link = latest.get(file.name)
        if link is None:
            left_out.append(LeftOut(file.name, "has no link in the chain: something else than a sweep put it there"))
        elif (link.facts.get("rows"), link.facts.get("root")) != (len(file.leaves), merkle.root(file.leaves).hex()):
            left_out.append(LeftOut(file.name, f"holds other rows than link {link.number} says"))
        else:
            rows += _proven(file, link)
    first = min({row.link for row in rows} | {access.number})
    return SessionRows(rows, left_out, [link for link in links if link.number >= first], access)


def _files_with(home: Home, embed_id: int) -> list[Path]:
    """The files that have rows of the embed, and those that cannot be asked; sorted."""
    is_own = pl.col("embed_id") == embed_id
    embeds = sorted(path for path in home.raw_embeds.glob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX))
    return sorted([*_asked(raw_event_files(home), is_own | _ODD_EMBED), *_asked(embeds, is_own)])


def _asked(files: list[Path], condition: pl.Expr) -> list[Path]:
    if not files:
        return []
    try:
        found = (
            pl.scan_parquet(
                files,
                glob=False,
                hive_partitioning=False,
                include_file_paths="file",
                missing_columns="insert",
                extra_columns="ignore",
            )
            .filter(condition)
            .select(pl.col("file").unique())
            .collect()
        )
    except _UNREADABLE:
        # One of them is damaged. It may hold anything.
        if len(files) == 1:
            return files
        middle = len(files) // 2
        return [*_asked(files[:middle], condition), *_asked(files[middle:], condition)]
    return [Path(name) for name in found["file"]]


def _read(home: Home, path: Path, embed_id: int) -> _File | None:
    frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    own = _positions(frame, embed_id)
    if not own:
        return None
    texts = row_texts(frame)
    return _File(relative(home, path), merkle.leaves(texts), {position: texts[position] for position in own})


def _positions(frame: pl.DataFrame, embed_id: int) -> list[int]:
    """The rows of the embed. What an event says of itself in another type counts as it does in the lake."""
    own = {position for position, found in enumerate(frame["embed_id"]) if found == embed_id}
    if "odd" in frame.columns:
        for position, text in frame.with_row_index("position").filter(_ODD_EMBED).select("position", "odd").iter_rows():
            odd = loads(text.encode())
            said = INTEGER.read(odd["embed_id"]) if isinstance(odd, dict) and "embed_id" in odd else None
            if said is not None and not isinstance(said, Unreadable):
                (own.add if said == embed_id else own.discard)(position)
    return sorted(own)


def _links_back_to(home: Home, names: set[str], asked: Head) -> tuple[list[Link], dict[str, Link], Link]:
    """The end of the chain, as far back as is needed; the latest link of each of these files; the link of who asked."""
    links: list[Link] = []
    latest: dict[str, Link] = {}
    access: Link | None = None
    for link in _backwards(home):
        links.append(link)
        if link.kind in FILE_KINDS and (name := link.facts.get("path")) in names:
            latest.setdefault(name, link)
        if access is None and link.kind == "access" and link.number < asked.count:
            access = link
        if access is not None and len(latest) == len(names):
            break
    assert access is not None, "the caller has appended it"
    links.reverse()
    return links, latest, access


def _backwards(home: Home) -> Iterator[Link]:
    """The links from the last one on. Raises PermanentError where one does not lead to the next."""
    following: Link | None = None
    try:
        for path in reversed(chain.link_files(home)):
            for link in reversed(chain.links_of(path)):
                if following and link.head != Head(following.number, following.previous):
                    _fail(home, f"link {link.number} does not lead to link {following.number}")
                yield link
                following = link
    except BrokenLinkError as error:
        _fail(home, f"a line {error}")


def _fail(home: Home, problem: str) -> NoReturn:
    raise PermanentError(f"The chain in {home.raw_chain} is broken ({problem}): `embed-analytics verify` says where.")


def _proven(file: _File, link: Link) -> list[ProvenRow]:
    proofs = merkle.proofs(file.leaves, list(file.texts))
    return [
        ProvenRow(text, file.name, position, link.number, [sibling.digest.hex() for sibling in proof])
        for (position, text), proof in zip(file.texts.items(), proofs, strict=True)
    ]
