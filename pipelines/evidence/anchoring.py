"""Gives a head of the chain to somebody outside: a file, a time-stamp authority, or both."""

from collections.abc import Callable
from pathlib import Path

from pipelines.chain import chain
from pipelines.chain.links import Head
from pipelines.errors import ConfigurationError
from pipelines.evidence.anchors import write_anchor
from pipelines.home.layout import Home
from pipelines.home.ownership import writer_lock


def anchor_home(home: Home, out: Path | None, authority: str | None, on_wait: Callable[[str], None]) -> Head:
    """Have the present head stamped, and write the head, with the stamp in its chain, to `out`. Returns that head.

    Raises ConfigurationError where there is no chain yet or `out` cannot be written, and what fetch_timestamp raises.
    """
    head = chain.head_of(home)
    if not head.count:
        raise ConfigurationError(f"{home.root} has no chain yet: it begins with the first refresh.")
    if authority is not None:
        from pipelines.evidence.timestamps import fetch_timestamp, timestamp_facts

        with writer_lock(home, on_wait):
            head = chain.head_of(home)
            head = chain.append(home, [("timestamp", timestamp_facts(fetch_timestamp(head, authority)))])
    if out is not None:
        try:
            write_anchor(head, out)
        except OSError as error:
            raise ConfigurationError(f"{out} cannot be written ({error.strerror}).") from None
    return head
