"""The head of the chain that the published warehouse was built with. The chain has to hold it for ever."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from pipelines.chain.linked_paths import relative
from pipelines.chain.links import Head
from pipelines.errors import WarehouseMissingError
from pipelines.evidence.chain_check import ReadChain
from pipelines.evidence.findings import Checked, Finding, Since
from pipelines.home.layout import Home
from pipelines.warehouse.published import connect_published

_TAIL = (
    "A chain that lost its end, with the files that it linked, still fits itself, and nothing here would show it. An "
    "anchor (`embed-analytics anchor`) or the next published warehouse would."
)
_WAY_OUT = "Put raw/chain back from a backup, and keep this one aside: it is evidence."


@dataclass(frozen=True)
class PublishedHead:
    """The chain's head when the published warehouse was built, at `built_at` (naive UTC)."""

    head: Head
    built_at: datetime


def read_published_head(home: Home) -> PublishedHead | None:
    """None where nothing is published, it cannot be read, or it says nothing of a chain."""
    try:
        with connect_published(home) as connection:
            row = connection.execute("select chain_link_count, chain_head, built_at from meta_build").fetchone()
    except (duckdb.Error, WarehouseMissingError):
        return None
    return None if row is None or row[0] is None else PublishedHead(Head(row[0], row[1]), row[2])


def check_published_head(home: Home, read: ReadChain, published: PublishedHead | None) -> Checked:
    """Whether the chain still holds that head. It must have been read before the chain was."""
    checked = Checked()
    if published is None or not published.head.count:
        checked.unproven.append(f"Whether the chain is whole at its end: no published warehouse says. {_TAIL}")
        return checked
    last = published.head.count - 1
    built_at = f"{published.built_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    held = next((link for link in read.links if link.number == last), None)
    if held is None:
        reason = f"ends before link {last}, which the warehouse of {built_at} has seen: the chain's end was removed"
        path = relative(home, read.appends[-1].path if read.appends else home.raw_chain)
        checked.findings.append(Finding("chain", path, None, reason, Since(after=built_at), _WAY_OUT))
    elif held.head != published.head:
        path = next(relative(home, append.path) for append in read.appends if held in append.links)
        reason = f"is not as the warehouse of {built_at} has seen it: link {last}, or one before it, is another"
        checked.findings.append(Finding("chain", path, None, reason, Since(after=built_at), _WAY_OUT))
    else:
        later = read.head.count - published.head.count
        checked.proven.append(f"The chain holds the {last + 1:,} links that the warehouse of {built_at} has seen.")
        if later:
            checked.unproven.append(f"Whether the chain is whole at its end, after these {last + 1:,} links. {_TAIL}")
    return checked
