"""Publishes in spite of damaged files: derived files are made again, and raw files are left out and named.

Files that have changed since they were written are checked before they are read; `reconcile` and full builds check all
files. If a disk changed a byte but no time stamp, DuckDB meets the damage when it reads: then all files are checked,
once.
"""

from collections.abc import Callable

import duckdb

from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.home.full_disk import is_full_disk
from pipelines.home.times import start_of_kept, utc_now
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildReport
from pipelines.warehouse.ledger import DamagedLakeError
from pipelines.warehouse.publish import remove_older
from pipelines.warehouse.published import first_line, unreadable_part
from pipelines.warehouse.sql_errors import ContinuationError

# Damaged files do not cause these errors.
_OF_THE_SQL = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.OutOfMemoryException)


def publish_home(
    settings: Settings, say: Callable[[str], None], *, full_refresh: bool = False, check_everything: bool = False
) -> BuildReport:
    """Flatten what is dirty, build and publish; `say` gets a line for each file that is damaged.

    The caller holds the home's writer lock. Raises what `build` raises.
    """
    home, looks_at_all = settings.home, full_refresh or check_everything
    # Another run may have landed events since this one flattened. A warehouse without them would contradict raw.
    _flatten(settings, say, looks_at_all=looks_at_all)
    # Before anything that may fail: it goes while nothing can be published, too.
    for path in remove_older(home, start_of_kept(settings.embed_analytics_keep_warehouses_days, utc_now())):
        say(f"{path} was older than EMBED_ANALYTICS_KEEP_WAREHOUSES_DAYS and has been removed.")
    options = BuildOptions(settings)
    said: set[str] = set()

    def say_afresh(reason: str) -> None:
        if reason not in said:
            say(f"{home.warehouse} {reason}: it is built again from nothing.")
        said.add(reason)

    reason = None
    if check_everything and home.warehouse.exists() and (part := unreadable_part(home)) is not None:
        reason = f"cannot be read whole ({part})"
        say_afresh(reason)
        full_refresh = True
    try:
        report = build(
            home,
            options,
            full_refresh=full_refresh,
            full_reason=reason,
            check_everything=check_everything,
            on_damage=say_afresh,
        )
    except (DamagedLakeError, ContinuationError, duckdb.Error) as error:
        if isinstance(error, _OF_THE_SQL) or is_full_disk(error):
            raise
        is_lake = _flatten(settings, say, looks_at_all=True)
        if not is_lake:
            if not isinstance(error, ContinuationError):
                raise
            reason = f"cannot be continued ({first_line(error.__cause__ or error)})"
            say_afresh(reason)
        report = build(
            home,
            options,
            full_refresh=full_refresh or not is_lake,
            full_reason=reason,
            check_everything=check_everything,
            on_damage=say_afresh,
        )
    for damage in report.damages:
        say(f"{damage}: it is left out until it is mended or moved out of raw.")
    return report


def _flatten(settings: Settings, say: Callable[[str], None], *, looks_at_all: bool) -> bool:
    """Flatten what is dirty; whether any file of the lake was damaged."""
    report = flatten_days(settings.home, FlattenOptions.from_settings(settings, utc_now()), looks_at_all=looks_at_all)
    report.say_made_again(say)
    report.say_expired(say)
    return bool(report.damages)
