"""What a build did, or why nothing was published."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pipelines.errors import CheckFailedError, PermanentError
from pipelines.home.sealed import Damage
from pipelines.warehouse.run_checks import CheckResult

OnProgress = Callable[[str], None]


@dataclass(frozen=True)
class BuildReport:
    """What a build did: rows per table, results of the checks, seconds per phase; the files of raw that it left out.

    `copied_bytes` are those of the published file that it copied first; 0 for a full build, and where it wrote into the
    spare instead (`is_recycled`).
    """

    build_id: str
    is_full: bool
    full_reason: str | None
    data_through: datetime | None
    tables: Mapping[str, int]
    checks: list[CheckResult]
    seconds: Mapping[str, float]
    damages: Sequence[Damage] = ()
    copied_bytes: int = 0
    is_recycled: bool = False

    @property
    def failed_checks(self) -> list[CheckResult]:
        """Checks that found rows, blocking ones first."""
        return sorted((c for c in self.checks if not c.passed), key=lambda c: (c.severity != "error", c.name))


class BuildCheckFailedError(CheckFailedError):
    """A blocking check found rows. `report` says which check."""

    def __init__(self, report: BuildReport) -> None:
        failed = [check for check in report.failed_checks if check.severity == "error"]
        told = "; ".join(f"{c.name} ({c.failing_count} rows of {c.table}, e.g. {c.sample[0]})" for c in failed)
        super().__init__(
            f"The warehouse was not published, {len(failed)} blocking check(s) failed: {told}. The published file "
            "is unchanged; the failed build is kept beside it as warehouse.failed.duckdb."
        )
        self.report = report


class BuildOutOfMemoryError(PermanentError):
    """DuckDB needs more memory, or more space to spill to, than it has. `reason` is DuckDB's message."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The warehouse was not published: DuckDB ran out of memory ({reason.rstrip('.')}). The published file is "
            "unchanged. Allow more by EMBED_ANALYTICS_MEMORY_LIMIT, or free space on the home's disk, where the build "
            "spills. Nothing is polled again."
        )


class Phases:
    """Seconds per phase. A phase that runs twice adds up."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._on_progress = on_progress

    @contextmanager
    def __call__(self, name: str) -> Generator[None]:
        if self._on_progress is not None and name not in self.seconds:
            self._on_progress(name)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
