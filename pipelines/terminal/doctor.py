"""`embed-analytics doctor`: what is set up wrongly, before a run meets it. It asks the API once, and changes nothing.

Each part of the set-up has one function here, which yields what it found. `problem` stops runs or loses data, `note`
is worth a look, `ok` is as it should be.
"""

from __future__ import annotations

import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from pipelines.errors import ConfigurationError, EmbedAnalyticsError, WarehouseMissingError
from pipelines.home.printable import printable
from pipelines.settings import Settings

if TYPE_CHECKING:
    import duckdb

    from pipelines.oneschema.claim_policy import ClaimPolicy

Level = Literal["ok", "note", "problem"]

# The vendor's Date header has whole seconds, and an answer takes some.
CLOCK_SECONDS = 60

# Keys of claims that name a person, or a way to reach one. A key is cut into its words first.
_PERSONAL = re.compile(
    r"e ?mail|phone|mobile|(user|first|last|full|given|family|sur) ?name|surname|address|street|birth( ?(day|date))?"
    r"|dob|ssn|passport|ip"
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_EMAIL = r"[^@\s]+@[^@\s]+\.[^@\s]+"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its topic, how it is, and what to do where it is not `ok`."""

    level: Level
    topic: str
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one after another."""
    yield from _versions()
    yield from _api(settings)
    yield from _retention(settings)
    yield from _home(settings)
    yield from _kept(settings)
    yield from _keys(settings)
    yield from examine_digest(settings)
    import duckdb

    from pipelines.oneschema.claim_policy import ClaimPolicy
    from pipelines.warehouse.published import connect_published, unreadable

    policy: ClaimPolicy | None = None
    try:
        policy = ClaimPolicy(settings.embed_analytics_claim_policy, settings.embed_analytics_claim_hash_key)
    except ConfigurationError as error:
        yield Finding("problem", "claims", str(error))
    try:
        connection = connect_published(settings.home)
    except WarehouseMissingError as error:
        yield Finding("note", "warehouse", str(error))
        return
    except duckdb.Error as error:
        yield Finding("problem", "warehouse", str(unreadable(settings.home, error)))
        return
    with connection:
        yield from _event_types(connection)
        if policy is not None:
            yield from _claims(policy, connection)


def _versions() -> Iterator[Finding]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("embed-analytics", "dagster", "duckdb", "polars"))
    yield Finding("ok", "versions", f"{packages}, Python {platform.python_version()}, {sys.platform}")


def _api(settings: Settings) -> Iterator[Finding]:
    """The key, whose it is, and the clock."""
    import asyncio

    from pipelines.oneschema.client import open_client
    from pipelines.oneschema.credentials import text_without_credentials
    from pipelines.oneschema.tokens import TokenReader
    from pipelines.steps import connection_of

    async def ask() -> tuple[str, datetime | None]:
        async with open_client(connection_of(settings)) as client:
            found = await client.whoami()
        # A policy that cannot be used is a finding of its own.
        known = TokenReader.from_settings(
            settings.model_copy(update={"embed_analytics_claim_policy": {}})
        ).known_secrets
        return text_without_credentials(found.organisation, known), found.answered_at

    try:
        organisation, theirs = asyncio.run(ask())
    except EmbedAnalyticsError as error:
        yield Finding("problem", "key", str(error))
        return
    yield Finding("ok", "key", f"of {organisation} at {settings.api_url}")
    yield from _owner(settings, organisation)
    yield from compare_clocks(theirs, datetime.now(UTC))


def _owner(settings: Settings, organisation: str) -> Iterator[Finding]:
    from pipelines.home.ownership import require_owner

    try:
        require_owner(settings.home, settings.api_url, organisation)
    except EmbedAnalyticsError as error:
        yield Finding("problem", "home", str(error))


def compare_clocks(theirs: datetime | None, ours: datetime) -> Iterator[Finding]:
    """This machine's clock beside the API's, from the Date header of an answer. Both have a zone."""
    if theirs is None:
        yield Finding("note", "clock", "not compared: the API's answer has no Date")
        return
    ahead = (ours - theirs).total_seconds()
    if abs(ahead) <= CLOCK_SECONDS:
        yield Finding("ok", "clock", "as the API's")
        return
    where = "ahead of" if ahead > 0 else "behind"
    yield Finding(
        "problem",
        "clock",
        f"{abs(ahead):.0f} s {where} the API's: sweeps would say that they began then. Set this machine's clock by NTP",
    )


def _retention(settings: Settings) -> Iterator[Finding]:
    from pipelines.poll.frontier import FrontierRule
    from pipelines.warehouse.freshness import longest_gap

    try:
        gap = longest_gap(settings.embed_analytics_refresh_cron)
    except ConfigurationError as error:
        yield Finding("problem", "schedule", str(error))
        return
    if settings.oneschema_retention_days is None:
        yield Finding(
            "note",
            "retention",
            "ONESCHEMA_RETENTION_DAYS is not set, so nothing warns before the vendor deletes an event that was not "
            "fetched. Set it to your organisation's period",
        )
        return
    allowed = FrontierRule.from_settings(settings).longest_interval
    if gap > allowed:
        yield Finding(
            "problem",
            "retention",
            f"EMBED_ANALYTICS_REFRESH_CRON leaves {gap} between two refreshes, and a quarter of the retention is "
            f"{allowed}: refresh more often",
        )
        return
    yield Finding("ok", "retention", f"{settings.oneschema_retention_days} days, and a refresh at least every {gap}")


def _home(settings: Settings) -> Iterator[Finding]:
    """Who may enter the home, and the room on its disk."""
    home = settings.home
    if not home.root.is_dir():
        yield Finding("note", "home", f"{home.root} does not exist yet: the first refresh makes it")
        return
    mode = home.root.stat().st_mode
    if mode & stat.S_IXOTH:
        yield Finding("problem", "permissions", f"everybody can enter {home.root}: chmod o-rwx {home.root}")
    else:
        yield Finding("ok", "permissions", f"{home.root} has mode {stat.S_IMODE(mode):04o}")
    free = shutil.disk_usage(home.root).free
    # A build is made beside the published file, and spills.
    needed = 3 * home.warehouse.stat().st_size if home.warehouse.exists() else 0
    if free < needed:
        yield Finding(
            "problem",
            "disk",
            f"{free:,} bytes free, and a full build may need {needed:,}: make room, or lower "
            "EMBED_ANALYTICS_KEEP_WAREHOUSES",
        )
    else:
        yield Finding("ok", "disk", f"{free:,} bytes free")


def _kept(settings: Settings) -> Iterator[Finding]:
    """For how long what is held stays, and what goes first."""
    from pipelines.terminal.oldest import layers

    limited = [layer for layer in layers(settings) if layer.days is not None]
    if not limited:
        yield Finding(
            "ok", "kept here", "for good: no setting removes anything but earlier warehouses, by their number"
        )
        return
    words = [f"{name} for {days} days (the oldest is of {oldest or 'no day'})" for name, days, oldest in limited]
    yield Finding("ok", "kept here", f"{', '.join(words)}; all else for good")


def _keys(settings: Settings) -> Iterator[Finding]:
    """Whether the keys of encrypted claims are here, in a home that has any."""
    from pipelines.keys.key_store import KeysDamagedError, KeysUnavailableError
    from pipelines.keys.keyrings import Keyrings, named_keyrings

    home = settings.home
    if not named_keyrings(home):
        return
    try:
        missing = Keyrings(home).missing
    except (KeysDamagedError, KeysUnavailableError) as error:
        yield Finding("problem", "keys", str(error))
        return
    if missing:
        yield Finding(
            "problem",
            "keys",
            f"raw has claims that are encrypted by keys which {home.keys} does not have, and they read as erased: put "
            f"your copy of {home.key_store.name} there, under another name (restored.sqlite) if there is a new one",
        )
        return
    if home.keys.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("problem", "keys", f"others can enter {home.keys}: chmod go-rwx {home.keys}")
        return
    yield Finding("ok", "keys", f"of encrypted claims: in {home.keys}. Back them up apart from raw")


def examine_digest(settings: Settings) -> Iterator[Finding]:
    """Whether the digest can be sent by the settings, where they name somebody. Nobody is asked."""
    if not settings.sends_digest:
        return
    from pipelines.digest.channels import channels_of
    from pipelines.digest.sending import period_of
    from pipelines.home.times import utc_now

    now = utc_now()
    try:
        channels = channels_of(settings, now)
        period_of(settings.embed_analytics_digest_cron, now)
    except ConfigurationError as error:
        yield Finding("problem", "digest", str(error))
        return
    yield Finding("ok", "digest", f"goes to: {', '.join(channel.name for channel in channels)}")


def _event_types(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    rows = connection.execute(
        "select event_type from meta_event_types where is_known and event_count = 0 order by 1"
    ).fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows)
        yield Finding("note", "event types", f"never seen: {names}. Does your account use what they tell of?")
    else:
        yield Finding("ok", "event types", "each of the vendor's list has been seen")


def _claims(policy: ClaimPolicy, connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Claims that look as if they said who somebody is, and that no policy names."""
    from pipelines.warehouse.literals import identifier

    claims = connection.execute("select path, column_name from meta_claims order by path").fetchall()
    kept = [(path, column) for path, column in claims if not policy.names(path)]
    columns = [column for _, column in kept if column is not None]
    held = set[str]()
    if columns:
        tests = ", ".join(f"bool_or(regexp_full_match({identifier(name)}::varchar, $1))" for name in columns)
        (row,) = connection.execute(f"select {tests} from fct_embeds", [_EMAIL]).fetchall()
        held = {name for name, is_email in zip(columns, row, strict=True) if is_email}
    suspects = [path for path, column in kept if column in held or looks_personal(path)]
    if not suspects:
        yield Finding("ok", "claims", "none without a policy looks personal")
        return
    yield Finding(
        "note",
        "claims",
        f"look personal and have no policy: {', '.join(suspects)}. Encrypt, hash or drop them by "
        'EMBED_ANALYTICS_CLAIM_POLICY, or say "keep" there',
    )


def looks_personal(path: str) -> bool:
    """Whether the last key of a claim's path reads like a person's: `user.e-mail`, `customerPhone`."""
    from pipelines.oneschema.claim_paths import split

    words = " ".join(word.lower() for word in _WORDS.findall(split(path)[-1]))
    return re.search(rf"\b(?:{_PERSONAL.pattern})\b", words) is not None


def print_findings(settings: Settings, say: Callable[[str], None]) -> bool:
    """Say each finding as it is made. Whether none is a problem."""
    is_well = True
    for finding in examine(settings):
        is_well = is_well and finding.level != "problem"
        say(f"{finding.level:<8}{finding.topic:<13}{printable(finding.text)}")
    return is_well
