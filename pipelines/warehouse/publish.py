"""The published file: building beside it, renaming over it, keeping the last few, and never writing to it.

Everything lies in one folder, so a rename is atomic. A reader opens either the old file or the new one; an open reader
keeps the old one. Whatever a killed build left behind is removed by the next one, which holds the home's lock.
"""

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigurationError
from pipelines.home.files import fsync, put_in_place
from pipelines.home.layout import Home
from pipelines.home.permissions import share_as_published

_BUILDING = "warehouse.duckdb.building-"


@dataclass(frozen=True)
class Publication:
    """One build's file, from its first byte to its publication or its failure."""

    home: Home
    build_id: str

    @property
    def building(self) -> Path:
        """The file that is being built."""
        return self.home.root / f"{_BUILDING}{self.build_id}"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit in memory."""
        return self.home.root / f"{_BUILDING}{self.build_id}.spill"

    @property
    def failed(self) -> Path:
        """The last build that failed, kept for inspection."""
        return self.home.root / "warehouse.failed.duckdb"

    def require_replaceable(self) -> None:
        """Raises ConfigurationError where the published file is a symbolic link: a rename would replace the link."""
        if self.home.warehouse.is_symlink():
            raise ConfigurationError(
                f"{self.home.warehouse} is a symbolic link, which publishing would replace: remove it. To have the "
                "file elsewhere, put the link there, or make EMBED_ANALYTICS_HOME a link as a whole."
            )

    def clean(self) -> None:
        """Remove what killed builds left behind."""
        for path in self.home.root.glob(f"{_BUILDING}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def copy_published(self) -> None:
        """Start from the bytes of the published file, on disk before the build goes on."""
        shutil.copyfile(self.home.warehouse, self.building)
        fsync(self.building)

    def publish(self, previous_build_id: str | None, keep: int) -> None:
        """Rename the closed, complete file over the published one, of which `keep` earlier ones stay.

        It has the mode and the group of the published one before. Raises ConfigurationError where it cannot have them.
        """
        share_as_published(self.home, self.building)
        fsync(self.building)
        if previous_build_id is not None and keep > 0 and self.home.warehouse.exists():
            kept = kept_folder(self.home) / f"{previous_build_id}.duckdb"
            kept.parent.mkdir(exist_ok=True)
            if not kept.exists():
                _keep(self.home.warehouse, kept)
        # A client that opened the file for writing may have left a log, which DuckDB would replay on the new file.
        self.home.warehouse.with_name(f"{self.home.warehouse.name}.wal").unlink(missing_ok=True)
        put_in_place(self.building, self.home.warehouse)
        # Names begin with the time of the build.
        for old in sorted(kept_folder(self.home).glob("*.duckdb"), reverse=True)[keep:]:
            old.unlink()

    @contextmanager
    def kept_if_it_fails(self) -> Generator[None]:
        """Keep the file under another name when the build does not come to its end."""
        try:
            yield
        except BaseException:
            if self.building.exists():
                self.building.replace(self.failed)
            self.clean()
            raise


def kept_folder(home: Home) -> Path:
    """Earlier published files, named by their build."""
    return home.root / "warehouses"


def _keep(published: Path, kept: Path) -> None:
    """Give the published file a second name. A file system without hard links gets a copy."""
    try:
        kept.hardlink_to(published)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        part = kept.with_suffix(".part")
        shutil.copyfile(published, part)
        part.replace(kept)
