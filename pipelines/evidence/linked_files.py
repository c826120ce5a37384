"""What a chain says that raw holds: the files by path, after all landings, replacements and removals."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.chain.linked_paths import is_in_raw
from pipelines.chain.links import Link
from pipelines.evidence.findings import Checked, Finding, Since

_ADDS = frozenset({"landed", "found", "replaced"})
_FACTS: dict[str, tuple[type, ...]] = {"path": (str,), "bytes": (int,), "sha256": (str,), "rows": (int, type(None))}
_CALLS_FOR_A_PERSON = (
    "The chain was written by something else than this version: keep it aside, and compare with a backup."
)


@dataclass
class LinkedFiles:
    """`held` are the links of the files that raw should hold, by path; `gone` those that say that one was removed."""

    held: dict[str, Link] = field(default_factory=dict[str, Link])
    gone: dict[str, Link] = field(default_factory=dict[str, Link])
    accesses: dict[str, Link] = field(default_factory=dict[str, Link])
    """The links of kind access, by the SHA-256 of their details."""


def linked_files(links: Iterable[Link], checked: Checked) -> LinkedFiles:
    """Follow the links in their order. A link that cannot follow from those before it is a finding."""
    found = LinkedFiles()
    by_number: dict[int, str] = {}
    for link in links:
        if link.kind == "access" and isinstance(details := link.facts.get("details"), str):
            found.accesses[details] = link
        if link.kind not in _ADDS and link.kind != "expired":
            continue
        if (reason := _follow(found, by_number, link)) is not None:
            path = link.facts.get("path")
            where = path if isinstance(path, str) else None
            reason = f"has a link ({link.number}, {link.kind}) that {reason}"
            checked.findings.append(
                Finding("chain", where, None, reason, Since(link.at, link.number), _CALLS_FOR_A_PERSON)
            )
    return found


def _follow(found: LinkedFiles, by_number: dict[int, str], link: Link) -> str | None:
    """Take in one link, or say why it cannot follow."""
    facts = link.facts
    path: Any = facts.get("path")
    if not isinstance(path, str) or not is_in_raw(path):
        return "names no file of raw"
    if link.kind == "expired":
        if found.held.get(path) is None or found.held[path].number != facts.get("landed"):
            return "removes a file that was not there"
        del found.held[path]
        found.gone[path] = link
        return None
    if any(not isinstance(facts.get(name), types) for name, types in _FACTS.items()):
        return "lacks what a file's link says"
    if link.kind == "replaced":
        replaced = by_number.get(facts["replaces"]) if isinstance(facts.get("replaces"), int) else None
        if replaced is None or found.held.get(replaced) is None or found.held[replaced].number != facts["replaces"]:
            return "replaces a file that was not there"
        del found.held[replaced]
        found.gone[replaced] = link
    elif path in found.held:
        return f"says that it came again, after link {found.held[path].number}"
    found.held[path] = link
    found.gone.pop(path, None)
    by_number[link.number] = path
    return None
