"""Who may write to a home: one process at a time, and for good only one API and organisation."""

import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock, Timeout

from pipelines.errors import ConfigurationError, WrongHomeError
from pipelines.home.files import fsync, make_folder, write_text
from pipelines.home.layout import Home
from pipelines.home.permissions import group_id, write_as_home


def open_home(home: Home) -> None:
    """Make the home if it is missing, durable and private. From then on this process writes nothing more open than it.

    Raises OSError when the home cannot be made. Raises ConfigurationError when its path cannot be used, or when it
    cannot be opened to its group.
    """
    _require_usable(home)
    if home.group is not None:
        group_id(home.group)
    if not home.root.is_dir():
        make_folder(home.root.parent)
        home.root.mkdir(mode=0o700, exist_ok=True)
        fsync(home.root.parent)
    write_as_home(home)


def _require_usable(home: Home) -> None:
    """Raises ConfigurationError for a path that Dagster's SQLite or DuckDB would misread."""
    for path in (str(home.root), os.path.realpath(home.root)):
        # DuckDB reads text after a question mark as options, and a backslash as a slash. SQLite's URL is unquoted.
        if "?" in path or "\\" in path or unquote(path) != path or not is_text(path):
            raise ConfigurationError(
                f"EMBED_ANALYTICS_HOME {path!r} has a question mark, a backslash or a percent sign before two digits, "
                "or is not UTF-8: name another folder. Anything else is allowed."
            )


def is_text(path: str) -> bool:
    """Whether a path is UTF-8: Python gives other bytes of a name as lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def writer_lock(home: Home, on_wait: Callable[[str], None]) -> Generator[None]:
    """Hold the home's writer lock, an operating-system lock that dies with its process.

    While another writer holds it, this waits, and says so once through `on_wait`. Raises ConfigurationError when the
    home cannot be written to.
    """
    path = home.state / "writer.lock"
    holder = home.state / "writer.json"
    try:
        open_home(home)
        path.parent.mkdir(exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait(f"{_describe(holder)} is writing to {home.root}: waiting until it is done.")
            lock.acquire()
    except OSError as error:
        raise unwritable(home, error) from error
    try:
        # Only for the message above; the lock does not depend on it.
        holder.write_text(json.dumps({"pid": os.getpid(), "command": Path(sys.argv[0]).name}), encoding="utf-8")
        yield
    finally:
        lock.release()


def unwritable(home: Home, error: OSError) -> ConfigurationError:
    """The error to raise when the system does not let us write to a home."""
    return ConfigurationError(f"EMBED_ANALYTICS_HOME {home.root} cannot be written to: {error.strerror}.")


def _describe(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        return f"Process {who['pid']} ({who['command']})"
    except (OSError, ValueError, KeyError):
        # The holder has not written its name yet.
        return "Another process"


def claim_home(home: Home, api_url: str, organisation: str) -> None:
    """Record that the home belongs to this organisation. Raises WrongHomeError if it already belongs to another."""
    if not _owner_file(home).exists():
        write_text(json.dumps(_owner(api_url, organisation), indent=2) + "\n", _owner_file(home))
        return
    require_owner(home, api_url, organisation)


def require_owner(home: Home, api_url: str, organisation: str) -> None:
    """Raises WrongHomeError if the home belongs to another organisation. One without an owner is anybody's."""
    owner, held = _owner(api_url, organisation), owner_of(home)
    if held is not None and held != owner:
        raise WrongHomeError(
            f"{home.root} holds the events of {held.get('organisation')} at {held.get('api_url')}, but the key belongs "
            f"to {organisation} at {api_url}. If these are two accounts, set another EMBED_ANALYTICS_HOME, or the key "
            f"and URL of the first. If it is one account with a new name or address, write {json.dumps(owner)} to "
            f"{_owner_file(home)}."
        )


def owner_of(home: Home) -> dict[str, str] | None:
    """The `api_url` and the `organisation` that the home belongs to; None while it belongs to nobody.

    Raises WrongHomeError where the file that says so is damaged.
    """
    path = _owner_file(home)
    if not path.exists():
        return None
    try:
        held = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise WrongHomeError(f"{path} is damaged: restore it, or name another EMBED_ANALYTICS_HOME.") from None
    return {str(name): str(value) for name, value in held.items()}


def _owner_file(home: Home) -> Path:
    return home.root / "home.json"


def _owner(api_url: str, organisation: str) -> dict[str, str]:
    return {"api_url": api_url, "organisation": organisation}
