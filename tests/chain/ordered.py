"""The links of a home, each in its place."""

from pipelines.chain import chain
from pipelines.chain.links import EMPTY, Link
from pipelines.home.layout import Home


def links_in_order(home: Home) -> list[Link]:
    """Every link; each has its number and holds the digest of the one before, and the chain ends with the last."""
    links = list(chain.read_links(home))
    head = EMPTY
    for link in links:
        assert (link.number, link.previous) == (head.count, head.digest)
        head = link.head
    assert chain.head_of(home) == head
    return links
