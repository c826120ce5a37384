"""The steps of every run. Each is safe to repeat, and holds the home's writer lock.

Dagster's assets and the command line call these, and nothing below them. `on_wait` gets a line when a step waits for
another writer, and for each damaged file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.home.full_disk import full_disk_named
from pipelines.home.ownership import claim_home, writer_lock
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.flatten.days import FlattenReport
    from pipelines.oneschema.client import Connection, RetryPolicy
    from pipelines.oneschema.tokens import TokenReader
    from pipelines.poll.poll_state import PollState
    from pipelines.poll.report import SweepProgress, SweepReport, SweepRequest
    from pipelines.warehouse.build_report import BuildReport
    from pipelines.webhooks.ingest import IngestReport

# Each step imports what it uses, so that the command line starts without Polars, DuckDB and httpx.


def sweep(
    settings: Settings,
    request: SweepRequest,
    *,
    on_wait: Callable[[str], None],
    on_progress: Callable[[SweepProgress], None] = lambda _: None,
    on_broken_off: Callable[[SweepReport], None] = lambda _: None,
    clock: Callable[[], datetime] | None = None,
    retry: RetryPolicy | None = None,
) -> SweepReport:
    """Land what webhooks brought, and poll the API into raw.

    Raises ConfigurationError and WrongHomeError before any request. CredentialRefusedError, HostUnreachableError,
    SourceError and other refusals of the API are raised after everything that was fetched has landed; `on_broken_off`
    gets the report of that first.
    """
    from pipelines.home.times import utc_now
    from pipelines.poll.frontier import FrontierRule
    from pipelines.poll.opening import DamagedStateError, open_state
    from pipelines.poll.sweep import SweepContext, run_sweep
    from pipelines.webhooks.ingest import IngestReport

    connection = connection_of(settings, retry)
    home = settings.home
    received = IngestReport()

    def broken_off(report: SweepReport) -> None:
        report.add_webhook_events(received.landed_by_date)
        on_broken_off(report)

    context = SweepContext(
        home=home,
        connection=connection,
        tokens=_token_reader(settings),
        rule=FrontierRule.from_settings(settings),
        environment_name=settings.oneschema_environment,
        concurrency=settings.embed_analytics_concurrency,
        clock=clock or utc_now,
        on_progress=on_progress,
        on_broken_off=broken_off,
        check_organisation=lambda organisation: claim_home(home, settings.api_url, organisation),
    )

    def run() -> SweepReport:
        nonlocal received
        with open_state(home, on_wait) as state:
            # Before the poll, so that these events are older than the sweep's start, which becomes data_through.
            received = _take_in(settings, state, on_wait)
            report = run_sweep(context, state, request)
            report.add_webhook_events(received.landed_by_date)
            report.damaged_segments = [str(damage) for damage in received.damages]
            return report

    with full_disk_named(home), writer_lock(home, on_wait):
        try:
            return run()
        except DamagedStateError:
            # The state has been set aside. The next one is made from raw, which holds all that had landed.
            return run()


def connection_of(settings: Settings, retry: RetryPolicy | None = None) -> Connection:
    """How the API is reached. Raises ConfigurationError for a missing key, or an address that cannot be used."""
    from pipelines.oneschema.client import Connection, RetryPolicy
    from pipelines.oneschema.pace import Pace

    return Connection(
        settings.api_url,
        settings.require_api_key(),
        settings.embed_analytics_request_timeout_seconds,
        Pace(settings.embed_analytics_requests_per_second),
        retry or RetryPolicy(budget_seconds=settings.embed_analytics_retry_budget_seconds),
        allows_plain_http=settings.oneschema_allow_plain_http,
    )


def receive(settings: Settings, *, on_wait: Callable[[str], None]) -> IngestReport:
    """Land what webhooks brought, without a request. This needs no API key."""
    from pipelines.poll.opening import open_state

    home = settings.home
    with full_disk_named(home), writer_lock(home, on_wait), open_state(home, on_wait) as state:
        return _take_in(settings, state, on_wait)


def flatten(
    settings: Settings,
    *,
    on_wait: Callable[[str], None],
    redo: Collection[str] = (),
) -> FlattenReport:
    """Flatten the days whose raw files or flattening changed, and always those of `redo` (YYYY-MM-DD)."""
    from pipelines.flatten.days import FlattenOptions, flatten_days
    from pipelines.home.times import utc_now

    with full_disk_named(settings.home), writer_lock(settings.home, on_wait):
        report = flatten_days(settings.home, FlattenOptions.from_settings(settings, utc_now()), redo=redo)
        report.say_made_again(on_wait)
        report.say_expired(on_wait)
        return report


def publish(
    settings: Settings,
    *,
    on_wait: Callable[[str], None],
    full_refresh: bool = False,
    check_everything: bool = False,
) -> BuildReport:
    """Build, check and publish the warehouse. Raises CheckFailedError; the published warehouse is then unchanged."""
    from pipelines.warehouse.mending import publish_home

    with full_disk_named(settings.home), writer_lock(settings.home, on_wait):
        return publish_home(settings, on_wait, full_refresh=full_refresh, check_everything=check_everything)


def _take_in(settings: Settings, state: PollState, on_wait: Callable[[str], None]) -> IngestReport:
    """Land the journal, name its segments that are damaged, and remove what has expired of raw/unreadable."""
    from pipelines.home.times import start_of_kept, utc_now
    from pipelines.raw.expiry import expire_unreadable
    from pipelines.raw.landing import remove_stale_temporaries
    from pipelines.webhooks.ingest import ingest_journal

    remove_stale_temporaries(settings.home)
    unreadable_from = start_of_kept(settings.embed_analytics_keep_unreadable_days, utc_now())
    report = ingest_journal(
        settings.home,
        state.connection,
        _token_reader(settings),
        settings.oneschema_environment,
        state.embed_token_fingerprint,
        unreadable_from,
    )
    expired = expire_unreadable(settings.home, unreadable_from, "EMBED_ANALYTICS_KEEP_UNREADABLE_DAYS")
    if expired:
        on_wait(
            f"{len(expired)} files of raw/unreadable were older than EMBED_ANALYTICS_KEEP_UNREADABLE_DAYS and have "
            "been removed; raw/chain says which."
        )
    for damage in report.damages:
        on_wait(f"{damage}: what could be read of it has landed; it stays until it is mended or moved away.")
    return report


def _token_reader(settings: Settings) -> TokenReader:
    from pipelines.oneschema.tokens import TokenReader

    return TokenReader.from_settings(settings)
