"""Takes files of raw that have no link into the chain, by a person's word, and says what was taken in before."""

import getpass
from collections import defaultdict
from collections.abc import Callable

from pipelines.chain import chain
from pipelines.chain.file_links import facts_of_file
from pipelines.chain.links import Link
from pipelines.evidence.chain_check import ReadChain, read_chain
from pipelines.evidence.findings import Checked
from pipelines.evidence.linked_files import linked_files
from pipelines.evidence.raw_check import raw_tree
from pipelines.home.layout import Home
from pipelines.home.ownership import is_text, writer_lock

_PATHS_SHOWN = 3


def accept_files(home: Home, reason: str, on_wait: Callable[[str], None]) -> list[str]:
    """Give each file of raw without a link one of kind `found`, which says who accepted it and why.

    A file that only has another name stays out: giving its name back is the way out. So does one whose name is not
    UTF-8, since no link can hold it. Returns the paths, below the home. Raises ConfigurationError where the home cannot
    be written to.
    """
    with writer_lock(home, on_wait):
        chain.finish(home)
        linked = linked_files(read_chain(home).links, Checked())
        files = {path.relative_to(home.root).as_posix(): path for path in raw_tree(home)}
        missing = {link.facts["sha256"] for path, link in linked.held.items() if path not in files}
        facts = [
            facts_of_file(home, files[path])
            for path in sorted(files.keys() - linked.held.keys())
            if is_text(path) and files[path].is_file()
        ]
        accepted = [each for each in facts if each["sha256"] not in missing]
        by = getpass.getuser()
        chain.append(home, [("found", {**each, "reason": reason, "by": by}) for each in accepted])
    return [each["path"] for each in accepted]


def taken_in_notes(read: ReadChain) -> list[str]:
    """A line for what did not land as events do: found, replaced and removed files, when, why and by whom."""
    first = read.appends[0].links if read.appends else ()
    groups: defaultdict[tuple[str, str, str], list[Link]] = defaultdict(list)
    for link in read.links:
        if link.kind in _WORDS:
            groups[link.kind, str(link.facts.get("reason")), str(link.facts.get("by") or "")].append(link)
    notes: list[str] = []
    for (kind, reason, by), links in groups.items():
        is_first = kind == "found" and links[-1].number < len(first)
        words = "were in raw when the chain began, which says what they held then" if is_first else _WORDS[kind]
        paths = ", ".join(str(link.facts.get("path")) for link in links[:_PATHS_SHOWN])
        more = f" and {len(links) - _PATHS_SHOWN} more" if len(links) > _PATHS_SHOWN else ""
        when = links[0].at if links[0].at == links[-1].at else f"{links[0].at} to {links[-1].at}"
        whose = f" by {by}" if by else ""
        notes.append(f"{len(links)} files {words} ({when}{whose}: {reason}): {paths}{more}.")
    return notes


_WORDS = {
    "found": "of raw had no link and were taken in",
    "replaced": "of raw were written again",
    "expired": "of raw were removed",
}
