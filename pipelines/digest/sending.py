"""Sends the digest of a period: to each channel at most once, whatever fails or is killed in between."""

from collections.abc import Callable
from datetime import datetime, timedelta

import duckdb

from pipelines.digest import ledger
from pipelines.digest.channels import MAIL_SETTINGS, WEBHOOK, Channel, channels_of
from pipelines.digest.document import Document, Occasion, compose
from pipelines.digest.numbers import read_numbers
from pipelines.errors import ConfigurationError, EmbedAnalyticsError
from pipelines.home.full_disk import full_disk_named
from pipelines.messages.delivery import MessageError, NotTakenError, Patience, RefusedError, deliver
from pipelines.settings import Settings
from pipelines.warehouse.freshness import late_after
from pipelines.warehouse.published import connect_published, unreadable


class DigestNotSentError(EmbedAnalyticsError):
    """Some channels did not get the digest, or it is not known whether they did. The text says which, and why."""


def read_digest(settings: Settings, now: datetime) -> Document:
    """The digest of the published warehouse at `now` (UTC). Raises WarehouseMissingError before the first one."""
    home = settings.home
    try:
        with connect_published(home) as connection:
            numbers = read_numbers(connection)
    except duckdb.Error as error:
        raise unreadable(home, error) from None
    names_customers = settings.embed_analytics_customer_claim or settings.embed_analytics_customer_id_claim
    return compose(
        numbers,
        Occasion(
            now,
            late_after(settings).total_seconds(),
            names_customers=names_customers is not None,
            link=settings.embed_analytics_report_url,
            page=str(home.report) if home.report.exists() else None,
        ),
    )


def send_digest(
    settings: Settings,
    now: datetime,
    say: Callable[[str], None],
    *,
    is_forced: bool = False,
    patience: Patience | None = None,
) -> None:
    """Send the digest to each channel that did not get it in this period. `say` gets a line for each.

    `is_forced`: to all of them, once more. Raises ConfigurationError where the settings name no channel, or not all
    that one needs. Raises DigestNotSentError after all channels were tried.
    """
    channels = channels_of(settings, now)
    if not channels:
        raise ConfigurationError(how_to_send())
    period = period_of(settings.embed_analytics_digest_cron, now)
    document = read_digest(settings, now)
    problems: list[str] = []
    with full_disk_named(settings.home), ledger.opened(settings.home, say) as held:
        for channel in channels:
            state = held.state(period, channel.key)
            if state == "sent" and not is_forced:
                say(f"{channel.name}: already sent in the period that began {period} UTC")
                continue
            if state == "sending" and not is_forced:
                problems.append(f"{channel.name}: an earlier run broke off while it was sent. {_UNKNOWN}")
                continue
            try:
                deliver(lambda channel=channel: _send(channel, document, period, held), patience or Patience())
            except MessageError as error:
                problems.append(f"{channel.name}: {_told(error)}")
            else:
                say(f"{channel.name}: sent")
    if problems:
        raise DigestNotSentError(" ".join(f"{problem}." for problem in problems))


def _send(channel: Channel, document: Document, period: str, held: ledger.Ledger) -> None:
    """One attempt. What is killed here, or breaks off, stays `sending`: it may have arrived."""
    before = held.state(period, channel.key)
    held.note(period, channel.key, "sending")
    try:
        channel.send(document, period)
    except (NotTakenError, RefusedError):
        held.note(period, channel.key, before)
        raise
    held.note(period, channel.key, "sent")


_UNKNOWN = "Whether it arrived is not known, so it is not sent again: `embed-analytics digest --force` does"


def _told(error: MessageError) -> str:
    if isinstance(error, NotTakenError):
        return f"{error}. The next run tries again"
    return str(error) if isinstance(error, RefusedError) else f"{error}. {_UNKNOWN}"


def how_to_send() -> str:
    """Which settings send a digest."""
    return (
        f"The digest is not sent anywhere: set {WEBHOOK}, or {', '.join(MAIL_SETTINGS[:-1])} and {MAIL_SETTINGS[-1]}."
    )


def period_of(cron: str, now: datetime) -> str:
    """The name of the period that a digest at `now` (UTC) belongs to: the latest tick of the schedule.

    Raises ConfigurationError for an expression that is invalid, or never comes due.
    """
    from croniter import CroniterError, croniter

    try:
        # croniter would read a sixth field as seconds. A digest at the tick itself is of the period that begins then.
        tick = croniter(cron if len(cron.split()) <= 5 else "", now + timedelta(seconds=1)).get_prev(datetime)
    except CroniterError:
        raise ConfigurationError(
            f"A setting cannot be used: EMBED_ANALYTICS_DIGEST_CRON: {cron!r} is not a cron expression of five fields "
            "that comes due."
        ) from None
    return f"{tick:%Y-%m-%dT%H:%M}"
