"""Holds a home against its chain, layer by layer: the chain, raw, the lake, the published warehouse.

It works offline and beside a running refresh, changes nothing, and takes no lock.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.chain.links import Head
from pipelines.errors import ConfigurationError
from pipelines.evidence.accepting import taken_in_notes
from pipelines.evidence.chain_check import ReadChain, check_signatures, read_chain, read_public_key
from pipelines.evidence.findings import Checked, Since
from pipelines.evidence.lake_check import check_lake
from pipelines.evidence.published_head import check_published_head, read_published_head
from pipelines.evidence.raw_check import check_raw
from pipelines.evidence.warehouse_check import check_warehouse
from pipelines.flatten.days import FlattenOptions
from pipelines.home.times import utc_now
from pipelines.settings import Settings

OnProgress = Callable[[str, int, int], None]
"""Takes what is being read, and how much of it is done, of how much."""

ChainCheck = Callable[[ReadChain], Checked]
"""Another check of the chain, as an anchor's: it takes the chain as it was read."""


@dataclass(frozen=True)
class Verified:
    """What a verification found, and the head of the chain that it looked at."""

    home: Path
    head: Head
    checked: Checked

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {"home": str(self.home), "head": asdict(self.head), **asdict(self.checked)}


def verify(
    settings: Settings,
    *,
    keys: Sequence[Path] = (),
    with_rows: bool = False,
    chain_checks: Collection[ChainCheck] = (),
    on_progress: OnProgress = lambda _what, _done, _all: None,
) -> Verified:
    """Verify the settings' home.

    `keys` are PEM files of the public keys whose signatures count; `with_rows` reads every row of raw again. Raises
    ConfigurationError for a home that does not exist, or a key that cannot be used.
    """
    home = settings.home
    if not home.root.is_dir():
        raise ConfigurationError(
            f"EMBED_ANALYTICS_HOME {home.root} does not exist: run `embed-analytics refresh` first."
        )
    public_keys = {read_public_key(path) for path in keys}
    # Before the chain: a running refresh may publish a later head in between.
    published = read_published_head(home)
    read = read_chain(home)
    checked = Checked()
    checked.add(read.checked)
    if not read.checked.findings:
        checked.proven.append(f"The chain has {read.head.count:,} links, each of which fits the one before it.")
    checked.add(check_signatures(home, read, public_keys))
    checked.add(check_published_head(home, read, published))
    for check in chain_checks:
        checked.add(check(read))
    checked.notes += taken_in_notes(read)
    raw = check_raw(home, read, with_rows=with_rows, on_progress=lambda done, total: on_progress("raw", done, total))
    checked.add(raw.checked)
    options = FlattenOptions.from_settings(settings, utc_now())
    since = Since.between(raw.last_clean, None)
    lake = check_lake(home, options, raw.dates, since, lambda done, total: on_progress("the lake", done, total))
    checked.add(lake.checked)
    checked.add(check_warehouse(settings, lake, lambda done, total: on_progress("the warehouse", done, total)))
    return Verified(home.root, read.head, checked)
