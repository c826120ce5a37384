"""Holds a chain against what somebody outside has kept of it: anchors, and time-stamps of authorities."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import PermanentError
from pipelines.evidence.anchors import broken_anchors, read_anchor
from pipelines.evidence.chain_check import ReadChain
from pipelines.evidence.findings import Checked, Finding, Since

_RESTORE = "Put raw/chain and raw/ back from a backup, and keep what is there aside: it is evidence."


class AnchorCheck:
    """Whether a chain holds the heads of anchor files. Raises ConfigurationError for a file that is not one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._anchors = [read_anchor(path) for path in paths]

    def __call__(self, read: ReadChain) -> Checked:
        checked = Checked()
        broken = dict(broken_anchors(self._anchors, read.links))
        for anchor in self._anchors:
            if anchor in broken:
                finding = Finding("anchor", str(anchor.path), None, f"is broken: {broken[anchor]}", Since(), _RESTORE)
                checked.findings.append(finding)
            elif anchor.head.count:
                last = anchor.head.count - 1
                checked.proven.append(f"Links 0 to {last} are as they were when {anchor.path} was written.")
        return checked


class TimestampCheck:
    """Whether the time-stamps in a chain hold, by certificates (PEM files) of authorities that are trusted.

    Without any it says that time-stamps were not looked at. Raises ConfigurationError for a file without certificates,
    or where the extra `evidence` is missing.
    """

    def __init__(self, authorities: Sequence[Path]) -> None:
        self._roots = []
        if authorities:
            from pipelines.evidence.timestamps import read_roots

            self._roots = [root for path in authorities for root in read_roots(path)]

    def __call__(self, read: ReadChain) -> Checked:
        checked = Checked()
        links = [link for link in read.links if link.kind == "timestamp"]
        if not self._roots:
            if links:
                checked.unproven.append(
                    f"{len(links)} time-stamps were not looked at: name the authority's certificate with --authority."
                )
            return checked
        from pipelines.evidence.timestamps import stamped_at

        latest: str | None = None
        for link in links:
            try:
                at = stamped_at(link, self._roots)
            except PermanentError as error:
                since = Since.between(link, None)
                checked.findings.append(Finding("anchor", None, None, str(error), since, _RESTORE))
            else:
                latest = f"Links 0 to {link.number - 1} existed at {at:%Y-%m-%d %H:%M:%S} UTC, an authority signed."
        checked.proven += [latest] if latest else []
        return checked
