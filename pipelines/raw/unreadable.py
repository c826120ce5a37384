"""raw/unreadable: bodies that could not be read as JSON, as far as they may be kept.

Each such body is also a delivery in raw/embed_events: an object with these facts in place of an event's fields. So it
is counted and quarantined like every delivery without a uuid. This table has one row for each time that it came.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.home.layout import Home
from pipelines.home.tables import TIMESTAMP, Column, Table
from pipelines.home.times import moment
from pipelines.raw.landing import land_once

RAW_UNREADABLE = Table(
    name="unreadable",
    description="One received body that is not JSON, or a line of the journal that is damaged.",
    columns=(
        Column("received_at", TIMESTAMP, "when it was received; for a damaged line, when its segment began (UTC)"),
        Column("source", pl.String(), "webhook, or journal for a damaged line of the journal"),
        Column("reason", pl.String(), "why it could not be read"),
        Column("byte_count", pl.Int64(), "its length in bytes, as received"),
        Column("digest", pl.String(), "BLAKE2b digest of these bytes (32 hex digits); may be keyed"),
        Column("text", pl.String(), "the text without credentials; NULL where it may not be kept"),
        Column("sweep_id", pl.String(), "the webhook journal segment that it was in"),
    ),
)

_KEY = ["received_at", "digest"]


@dataclass(frozen=True)
class UnreadableBody:
    """What is kept of a body. `text` is None if the body is not text, or if the claim policy changes any claim."""

    source: str
    reason: str
    byte_count: int
    digest: str
    text: str | None

    @classmethod
    def of(
        cls, body: bytes, source: str, reason: str, text: str | None, *, digest_key: bytes | None = None
    ) -> "UnreadableBody":
        """The facts about a body. Length and digest are of the body as it came; `text` must hold no credential."""
        digest = hashlib.blake2b(body, digest_size=16, key=digest_key or b"").hexdigest()
        return cls(source, reason, len(body), digest, text)

    def delivery(self) -> dict[str, Any]:
        """The object that stands for it among the deliveries. Equal bodies give equal objects."""
        return {"unreadable": asdict(self)}


def may_keep_text(claim_policy: Mapping[str, str]) -> bool:
    """Whether the claim policy lets us keep a text whose claims cannot be found."""
    return set(claim_policy.values()) <= {"keep"}


def land_unreadable(
    home: Home, segment: str, bodies: list[tuple[int, UnreadableBody]], limit: datetime | None = None
) -> None:
    """Add the bodies of one journal segment, each with the time when it was received (microseconds since 1970).

    A segment may be read more than once. Bodies that are there already are not added again, nor those that were
    received before `limit` (UTC): these have expired, or would at once.
    """
    rows = [{**asdict(body), "received_at": moment(received_at), "sweep_id": segment} for received_at, body in bodies]
    found = pl.DataFrame(rows, schema=RAW_UNREADABLE.polars_schema, orient="row")
    if limit is not None:
        found = found.filter(pl.col("received_at") >= limit)
    land_once(home, RAW_UNREADABLE, home.raw_unreadable, found, segment, _KEY)
