"""Removes files of raw that a setting lets expire: first a link in the chain for each, and then the files.

So the chain says what went, and whoever is killed in between leaves links whose files are still there: the next writer
removes these (`chain.finish`), and so does the next expiry. A file that is not as its link says, or has no
link, stays where it is, since `embed-analytics verify` has something to say of it.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.chain import chain
from pipelines.chain.linked_paths import relative, sha256_of
from pipelines.chain.links import Link
from pipelines.home.files import TEMPORARY_PREFIX, fsync
from pipelines.home.layout import Home
from pipelines.home.sealed import find_damage


def expire_unreadable(home: Home, limit: datetime | None, reason: str) -> list[Path]:
    """Remove the files of raw/unreadable whose bodies were all received before `limit` (UTC); none where it is None.

    Returns which. The caller holds the home's writer lock.
    """
    if limit is None:
        return []
    return expire(home, [path for path in _unreadable(home) if _last_received_at(path) < limit], reason)


def oldest_unreadable(home: Home) -> datetime | None:
    """When the first body that raw/unreadable holds was received (UTC). None where there is none."""
    found = [pl.read_parquet(path, columns=["received_at"])["received_at"].min() for path in _unreadable(home)]
    return min((moment for moment in found if isinstance(moment, datetime)), default=None)


def expire(home: Home, paths: Iterable[Path], reason: str) -> list[Path]:
    """Remove these files of raw, each after its link. Returns those that were removed; the others stay, see above."""
    wanted = {relative(home, path): path for path in paths}
    if not wanted:
        return []
    chain.finish(home)
    links = _last_links(home, wanted)
    # Of a writer that was killed after its links.
    gone = [name for name, link in links.items() if link.kind == "expired" and wanted[name].exists()]
    fit = [name for name, link in links.items() if _fits(wanted[name], link)]
    chain.append(home, [("expired", _facts(links[name], reason)) for name in fit])
    removed = [wanted[name] for name in sorted([*gone, *fit])]
    for path in removed:
        path.unlink()
    for folder in {path.parent for path in removed}:
        fsync(folder)
    return removed


def _last_links(home: Home, names: Iterable[str]) -> dict[str, Link]:
    """The last link of each of these files. Reads the whole chain, so it is for when there is something to remove."""
    names = set(names)
    return {link.facts["path"]: link for link in chain.readable_links(home) if link.facts.get("path") in names}


def _fits(path: Path, link: Link) -> bool:
    return link.kind != "expired" and path.exists() and sha256_of(path) == link.facts.get("sha256")


def _facts(link: Link, reason: str) -> dict[str, object]:
    return {**{name: link.facts[name] for name in ("path", "rows", "sha256")}, "landed": link.number, "reason": reason}


def _unreadable(home: Home) -> list[Path]:
    return sorted(
        path
        for path in home.raw_unreadable.glob("*.parquet")
        if not path.name.startswith(TEMPORARY_PREFIX) and find_damage(path) is None
    )


def _last_received_at(path: Path) -> datetime:
    (latest,) = pl.read_parquet(path, columns=["received_at"]).select(pl.col("received_at").max()).row(0)
    return latest
