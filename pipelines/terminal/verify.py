"""`embed-analytics verify`: shows how far it is and what it found, and notes in the chain that somebody asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import ConfigurationError, PermanentError
from pipelines.evidence.accepting import accept_files
from pipelines.evidence.access_log import note_access
from pipelines.evidence.outside_checks import AnchorCheck, TimestampCheck
from pipelines.evidence.verify import OnProgress, Verified, verify
from pipelines.home.printable import printable
from pipelines.settings import Settings

_SHOWN = 50
"""Of findings, and of everything else that may be as long as the home is large."""


def run_verify(
    settings: Settings,
    *,
    keys: Sequence[Path],
    anchors: Sequence[Path],
    authorities: Sequence[Path],
    with_rows: bool,
    accepts: bool,
    reason: str | None,
    as_json: bool,
) -> bool:
    """Verify, print, and note it in the chain. Returns whether nothing was found. Raises ConfigurationError."""
    if accepts:
        _accept(settings, reason)
    checks = [AnchorCheck(anchors), TimestampCheck(authorities)]
    with _progress() as on_progress:
        found = verify(settings, keys=keys, with_rows=with_rows, chain_checks=checks, on_progress=on_progress)
    if as_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{printable(line)}\n" for line in lines(found))
    sys.stdout.flush()
    try:
        about = {"findings": len(found.checked.findings), "waiting": len(found.checked.waiting), "rows": with_rows}
        note_access(settings.home, "verify", reason, about, _say)
    except (PermanentError, OSError) as error:
        _say(f"This verification is not noted in the chain: {error}")
    return not found.checked.findings


def lines(found: Verified) -> Iterator[str]:
    """What was found, one line each: findings, what waits, notes, what was proven and what was not."""
    checked = found.checked
    yield from _bounded([str(finding) for finding in checked.findings], "findings")
    yield from _bounded([str(waiting) for waiting in checked.waiting], "parts that wait")
    yield from _bounded([f"note: {note}" for note in checked.notes], "notes")
    yield from (f"proven: {sentence}" for sentence in checked.proven)
    yield from (f"not proven: {sentence}" for sentence in checked.unproven)
    count = len(checked.findings)
    yield (
        f"{count or 'No'} finding{'' if count == 1 else 's'}. "
        f"The chain's head is {found.head.digest}, after {found.head.count:,} links."
    )


def _bounded(shown: Sequence[str], what: str) -> Iterator[str]:
    yield from shown[:_SHOWN]
    if len(shown) > _SHOWN:
        yield f"and {len(shown) - _SHOWN} more {what}: --json has them all."


def _accept(settings: Settings, reason: str | None) -> None:
    if not reason or not reason.strip():
        raise ConfigurationError("--accept needs --reason TEXT: the chain keeps why these files were taken in.")
    accepted = accept_files(settings.home, reason, _say)
    for line in _bounded([f"accepted: {path}" for path in accepted], "files"):
        _say(line)
    if not accepted:
        _say("Every file of raw has a link already, or another name than it should have: nothing was accepted.")


def _say(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")


@contextmanager
def _progress() -> Generator[OnProgress]:
    """A bar for each layer on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("verifying {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total)

        yield show
