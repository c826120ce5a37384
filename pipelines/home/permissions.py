"""Who may read a home: only its owner, unless a setting opens it to a group.

A new home is private: mode 0700, and its files 0600. What an operator has opened stays open: a process writes nothing
more open than the home itself, and never takes rights away. With a group set, the group can pass through the home, and
read the lake and the published file.
"""

import grp
import os
import stat
from pathlib import Path

from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home

_GROUP_PASSES = 0o710
_GROUP_READS_FOLDER = 0o2750
_GROUP_READS_FILE = 0o640
_OF_OTHERS = 0o077

# The umask with which this process was started.
_UMASK = os.umask(_OF_OTHERS)
os.umask(_UMASK)


def write_as_home(home: Home) -> None:
    """Make this process write nothing more open than the home, and open the home to its group.

    This sets the process's umask, so it holds for every library that writes. Raises ConfigurationError when the home
    cannot be opened to its group.
    """
    os.umask(_UMASK | (_OF_OTHERS & ~_readable(home.root.stat().st_mode)))
    if home.group is not None:
        _open_to(home, group_id(home.group))


def is_open_to_others(home: Home) -> bool:
    """Whether every user of the machine can enter the home."""
    return bool(home.root.stat().st_mode & stat.S_IXOTH)


def share_as_folder(path: Path) -> None:
    """Give a new file or folder the group's rights on the folder that it lies in, if that folder is shared.

    A folder with the setgid bit is shared: the system gives its group to everything made in it.
    """
    mode = path.parent.stat().st_mode
    if mode & stat.S_ISGID:
        path.chmod(stat.S_IMODE(mode) if path.is_dir() else stat.S_IMODE(mode) & 0o666)


def make_private(path: Path) -> None:
    """Take the rights that a file was given from it. It has those of a new file, to the owner alone."""
    path.chmod(0o600)
    folder = path.parent.stat()
    group = folder.st_gid if folder.st_mode & stat.S_ISGID else os.getegid()
    if path.stat().st_gid != group:
        os.chown(path, -1, group)


def share_as_published(home: Home, new: Path) -> None:
    """Give the file to be published the mode and group of the published one. The first one gets those of a shared lake.

    Raises ConfigurationError if this user may not give a file to that group, because its members could not read it.
    """
    if home.warehouse.exists():
        held = home.warehouse.stat()
        mode, group = stat.S_IMODE(held.st_mode), held.st_gid
    elif home.lake.is_dir() and (held := home.lake.stat()).st_mode & stat.S_ISGID:
        mode, group = _GROUP_READS_FILE, held.st_gid
    else:
        return
    is_groups_own = bool((mode >> 3) & 0o7 & ~mode)
    if is_groups_own:
        _give(new, group, f"{home.warehouse} belongs to group {_group_name(group)}")
    # The group is set first, so that no other group can read the file, even for a moment.
    new.chmod(mode)


def _readable(mode: int) -> int:
    """The rights in a folder's mode of those who may list it. The right to pass through opens none of its files."""
    return (mode & 0o070 if mode & stat.S_IRGRP else 0) | (mode & 0o007 if mode & stat.S_IROTH else 0)


def group_id(name: str) -> int:
    """The id of the group in EMBED_ANALYTICS_GROUP. Raises ConfigurationError when no group has that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(f"EMBED_ANALYTICS_GROUP: there is no group {name!r} on this machine.") from None


def _open_to(home: Home, group: int) -> None:
    setting = f"EMBED_ANALYTICS_GROUP is {home.group}"
    root = home.root.stat()
    if root.st_gid != group or not root.st_mode & stat.S_IXGRP:
        _give(home.root, group, setting)
        home.root.chmod(stat.S_IMODE(root.st_mode) | _GROUP_PASSES)
    if not home.lake.is_dir():
        home.lake.mkdir(mode=0o700, exist_ok=True)
    lake = home.lake.stat()
    if lake.st_gid == group and lake.st_mode & stat.S_ISGID:
        return
    # The lake folder itself comes last: once it is shared, everything in it must be.
    for folder, _, files in os.walk(home.lake, topdown=False):
        for file in files:
            _share(Path(folder, file), group, _GROUP_READS_FILE, setting)
        if Path(folder) != home.lake:
            _share(Path(folder), group, _GROUP_READS_FOLDER, setting)
    if home.warehouse.is_file():
        _share(home.warehouse, group, _GROUP_READS_FILE, setting)
    _share(home.lake, group, _GROUP_READS_FOLDER, setting)


def _share(path: Path, group: int, mode: int, reason: str) -> None:
    _give(path, group, reason)
    path.chmod(stat.S_IMODE(path.stat().st_mode) | mode)


def _give(path: Path, group: int, reason: str) -> None:
    if path.stat().st_gid == group:
        return
    try:
        os.chown(path, -1, group)
    except PermissionError:
        raise ConfigurationError(
            f"{reason}, and this user may not give {path} to it: make the user that runs embed-analytics a member of "
            f"the group {_group_name(group)}."
        ) from None


def _group_name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)
