"""The spare: the file that publishing would have removed, kept to become the file of the next build.

It is a former published file that is no longer one of those kept in `warehouses/`. Its own ledger says what it has
read, so it is brought up to date without copying the published file. It is taken only when nothing can see it being
written: it has one name, no process has it open, and it is as it was when it was published.
"""

import fcntl
import os
import signal
import sys
from pathlib import Path

from pipelines.home.files import fsync, put_in_place
from pipelines.home.layout import Home
from pipelines.home.permissions import make_private
from pipelines.warehouse import published_record

_ACCESS_LIST = "system.posix_acl_access"

# What this machine's kernel alone reads and writes. Of a folder that comes from a network, or from the host of this
# machine, it does not know who has its files open there.
_LOCAL_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"})


def spare_file(home: Home) -> Path:
    """The spare, beside the published file. Its name is hidden, since nobody should open it."""
    return home.root / ".warehouse.spare.duckdb"


def retire(home: Home, kept: Path) -> None:
    """Make a file of `warehouses/` the spare, in place of another one. Its former name is gone for good."""
    put_in_place(kept, spare_file(home))
    fsync(kept.parent)


def drop(home: Home) -> None:
    """Remove the spare. A reader that has it open keeps it."""
    spare_file(home).unlink(missing_ok=True)


def take(home: Home, building: Path) -> str | None:
    """Rename the spare to `building`, if it may be written to; the id of the build that it is.

    Where it may not, or there is none, None: then no spare is left. Only a file since the last build that was made from
    nothing or looked at whole is taken. So what such a build has mended does not come back.
    """
    published, spare = published_record.find_published(home), spare_file(home)
    found = published_record.find(home, spare)
    if published is None or found is None or found.base_build_id != published.base_build_id:
        drop(home)
        return None
    # A new name first: whoever opened it by the former one is seen below, and no one opens it after that.
    put_in_place(spare, building)
    if _is_ours_alone(building):
        make_private(building)
        return found.build_id
    building.unlink()
    return None


def _is_ours_alone(path: Path) -> bool:
    """Whether the file belongs to this user, has no other name and no rights of its own, and is open nowhere.

    A second name may be somebody's backup. A lease to write is only given for a file that no process has open, be it a
    reader of ours, DuckDB's, or a program that copies it and takes no lock. Where there are no leases, nobody can say.
    """
    if sys.platform != "linux":
        return False
    about = path.stat()
    if about.st_nlink != 1 or about.st_uid != os.geteuid() or _file_system(about.st_dev) not in _LOCAL_FILE_SYSTEMS:
        return False
    try:
        if _ACCESS_LIST in os.listxattr(path):
            return False
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        # Whoever opens it meanwhile waits, and this process is signalled: by default with one that would end it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _file_system(device: int) -> str | None:
    """The type of the file system that is mounted from a device (proc(5), mountinfo)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        about, _, source = line.partition(" - ")
        if about.split()[2] == number:
            return source.split()[0]
    return None
