"""The published file. A build is made beside it and renamed over it. The last few are kept, and none of these is ever
written to.

All files lie in one folder, so the rename is atomic. A reader opens either the old file or the new one, and an open
reader keeps the old one. The next build, which holds the home's lock, removes what a killed build left behind.
"""

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import ConfigurationError
from pipelines.home.files import fsync, put_in_place
from pipelines.home.full_disk import is_full_disk
from pipelines.home.layout import Home
from pipelines.home.permissions import share_as_published
from pipelines.warehouse import published_record, spare
from pipelines.warehouse.published_record import PublishedFile

_BUILDING = "warehouse.duckdb.building-"

# How a build's id begins, before a hyphen. So ids, and the names of kept files, sort by time.
BUILT_AT = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True)
class Publication:
    """The file of one build, from its first byte until it is published or has failed."""

    home: Home
    build_id: str

    @property
    def building(self) -> Path:
        """The file that is being built."""
        return self.home.root / f"{_BUILDING}{self.build_id}"

    @property
    def spill(self) -> Path:
        """The folder for what does not fit in memory."""
        return self.home.root / f"{_BUILDING}{self.build_id}.spill"

    @property
    def failed(self) -> Path:
        """The last build that failed, kept for inspection."""
        return failed_file(self.home)

    def require_replaceable(self) -> None:
        """Raises ConfigurationError where the published file is a symbolic link: a rename would replace the link."""
        if self.home.warehouse.is_symlink():
            raise ConfigurationError(
                f"{self.home.warehouse} is a symbolic link, and publishing would replace it: remove the link. To have "
                "the file elsewhere, put a link to this path there, or make EMBED_ANALYTICS_HOME itself a link."
            )

    def clean(self) -> None:
        """Remove what killed builds left behind."""
        for path in self.home.root.glob(f"{_BUILDING}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def copy_published(self) -> int:
        """Start from a copy of the published file. It is on disk before the build goes on. Returns its bytes."""
        shutil.copyfile(self.home.warehouse, self.building)
        fsync(self.building)
        return self.building.stat().st_size

    def publish(
        self, previous_build_id: str | None, keep: int, *, looks_at_all: bool, limit: datetime | None = None
    ) -> None:
        """Rename the closed, complete file over the published one, and keep the last `keep` published files.

        The one before them becomes the spare, if no build since then was made from nothing or looked at everything, as
        this one does if `looks_at_all`. None that was built before `limit` is kept or becomes the spare. The file first
        gets the mode and the group of the published one. Raises ConfigurationError if that is not allowed.
        """
        share_as_published(self.home, self.building)
        fsync(self.building)
        if previous_build_id is not None and self.home.warehouse.exists():
            kept = kept_folder(self.home) / f"{previous_build_id}.duckdb"
            kept.parent.mkdir(exist_ok=True)
            if not kept.exists():
                _keep(self.home.warehouse, kept, may_copy=keep > 0)
        # Before the rename, which changes none of it: whichever file a kill leaves published is known.
        published = published_record.find_published(self.home)
        held = {path.stem for path in kept_folder(self.home).glob("*.duckdb")}
        held |= {published.build_id} if published is not None else set()
        recorded = {file.build_id: file for file in published_record.read(self.home) or () if file.build_id in held}
        base_build_id = self.build_id if looks_at_all or published is None else published.base_build_id
        new = PublishedFile.of(self.building, self.build_id, base_build_id)
        published_record.write(self.home, [new, *recorded.values()])
        # A client that opened the file for writing may have left a log, which DuckDB would replay on the new file.
        published_record.log_file(self.home).unlink(missing_ok=True)
        put_in_place(self.building, self.home.warehouse)
        # One that is published here for the first time since long ago is too old already.
        remove_older(self.home, limit)
        for number, old in enumerate(sorted(kept_folder(self.home).glob("*.duckdb"), reverse=True)[keep:]):
            if number == 0 and (file := recorded.get(old.stem)) and file.base_build_id == base_build_id:
                spare.retire(self.home, old)
            else:
                old.unlink()

    @contextmanager
    def kept_if_it_fails(self) -> Generator[None]:
        """Keep the file as `failed` when the build fails.

        When the disk is full, neither this file nor an earlier one is kept: it would keep the disk full.
        """
        try:
            yield
        except BaseException as error:
            if is_full_disk(error):
                self.building.unlink(missing_ok=True)
                self.failed.unlink(missing_ok=True)
            elif self.building.exists():
                self.building.replace(self.failed)
            self.clean()
            raise


def kept_folder(home: Home) -> Path:
    """The folder of earlier published files, each named after its build."""
    return home.root / "warehouses"


def kept_builds(home: Home) -> dict[Path, datetime]:
    """The earlier published files, the oldest first, with the time of their build (UTC)."""
    kept = sorted(kept_folder(home).glob("*.duckdb"))
    return {path: datetime.strptime(path.stem.partition("-")[0], BUILT_AT) for path in kept}


def failed_file(home: Home) -> Path:
    """The last build that failed."""
    return home.root / "warehouse.failed.duckdb"


def remove_older(home: Home, limit: datetime | None) -> list[Path]:
    """Remove the kept files that were built before `limit`, and a build that failed before it. Returns which."""
    if limit is None:
        return []
    removed = [path for path, built_at in kept_builds(home).items() if built_at < limit]
    failed = failed_file(home)
    if failed.exists() and failed.stat().st_mtime < limit.replace(tzinfo=UTC).timestamp():
        removed.append(failed)
    for path in removed:
        path.unlink()
    return removed


def _keep(published: Path, kept: Path, *, may_copy: bool) -> None:
    """Give the published file a second name, or make a copy where the file system has no hard links."""
    try:
        kept.hardlink_to(published)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        if not may_copy:
            return
        part = kept.with_suffix(".part")
        shutil.copyfile(published, part)
        part.replace(kept)
