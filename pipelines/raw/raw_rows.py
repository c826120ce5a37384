"""Turns a delivered event and its envelope into one row of raw, without credentials and with nothing lost.

Values of the documented types go to typed columns. A known field with any other value goes to `odd` as it came, and
unknown fields go to `extra`. A delivery that is not an object has its JSON in `odd`. null counts as a missing field.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from pipelines.home.layout import UNKNOWN_DATE
from pipelines.home.tables import TIMESTAMP
from pipelines.home.times import PLAUSIBLE_AHEAD, PLAUSIBLE_FROM
from pipelines.oneschema.credentials import strip_credentials
from pipelines.oneschema.event_fields import EVENT_FIELDS, TOKEN_FIELD
from pipelines.oneschema.json_text import Json, canonical
from pipelines.oneschema.reading import Unreadable, microseconds, read_timestamp
from pipelines.oneschema.tokens import ReadToken, TokenReader
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS

_KNOWN = frozenset(field.name for field in EVENT_FIELDS)
_DOCUMENTED = [(field.name, field.kind.json_type) for field in EVENT_FIELDS]
_ENVELOPED = [(position, field.name) for position, field in enumerate(EVENT_FIELDS) if field.is_enveloped]
_INTEGERS = range(-(2**63), 2**63)
_LARGEST_EXACT_IN_A_DOUBLE = 2**53

# The same event from the other channel is news, whichever came first. Else `source` would depend on the order.
_DIGEST_PERSON = {"api": b"", "webhook": b"webhook"}

_SCHEMA = {**RAW_EMBED_EVENTS.polars_schema, "plain_digest": pl.String(), "odd_occurred_at": pl.Int64()}


@dataclass(frozen=True)
class Envelope:
    """What is known about a delivery besides the event itself. `fetched_at` is naive UTC."""

    embed_id: int | None
    template_key: str | None
    environment_name: str | None
    token: ReadToken
    source: Literal["api", "webhook"]
    fetched_at: datetime
    sweep_id: str
    embed_token_fingerprint: str | None = None
    """Of the embed's own token (known_secrets.fingerprint_of_uuid), so that an echo of it is known."""


def to_raw(deliveries: Iterable[tuple[Json, Envelope]], tokens: TokenReader) -> pl.DataFrame:
    """RAW_EMBED_EVENTS with a row per delivery, in the order given, and three more columns, `occurred_at`,
    `event_date` and `plain_digest`. When this returns, the keys that encrypted its claims are on the disk.

    `occurred_at` is the time in created_at (Int64, microseconds since 1970, null where it cannot be read), and
    `event_date` is its date. The date is `unknown` if the time was not plausible when the delivery came: otherwise one
    sender could make a folder for every date there is.

    The event's own `embed_jwt`, template, environment and embed win over the envelope's. If the event's own value does
    not have the documented type, the typed column holds the envelope's value, and flattening looks at `odd`.

    `plain_digest` is the digest that the delivery had before digests had a key; NULL where they have none.
    """
    digest_key = tokens.digest_key
    rows = [_row(event, envelope, tokens, digest_key) for event, envelope in deliveries]
    tokens.flush_keys()
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    occurred_at = pl.coalesce("odd_occurred_at", microseconds(pl.col("created_at")))
    is_plausible = occurred_at.cast(TIMESTAMP).is_between(PLAUSIBLE_FROM, pl.col("fetched_at") + PLAUSIBLE_AHEAD)
    date = occurred_at.cast(TIMESTAMP).dt.strftime("%Y-%m-%d")
    event_date = pl.when(is_plausible).then(date).otherwise(pl.lit(UNKNOWN_DATE))
    return frame.with_columns(occurred_at=occurred_at, event_date=event_date).drop("odd_occurred_at")


def _row(event: Json, envelope: Envelope, tokens: TokenReader, digest_key: bytes | None) -> tuple[Any, ...]:
    token = envelope.token
    if type(event) is dict and event.get(TOKEN_FIELD) is not None:
        token = tokens.read(event[TOKEN_FIELD])
    event, text = strip_credentials(event, tokens.known_secrets, envelope.embed_token_fingerprint)
    typed, odd, extra = _split(event) if type(event) is dict else ([None] * len(_DOCUMENTED), text.decode(), None)
    for position, name in _ENVELOPED:
        if typed[position] is None:
            typed[position] = getattr(envelope, name)
    return (
        *typed,
        odd,
        extra,
        token.claims,
        token.jwt_status,
        token.fingerprint,
        envelope.source,
        envelope.fetched_at,
        envelope.sweep_id,
        _digest(text, envelope, digest_key or b""),
        _digest(text, envelope, b"") if digest_key else None,
        # Only an odd created_at is read here. Polars reads all the others as one column.
        None if odd is None or type(event) is not dict else _odd_time(event.get("created_at")),
    )


def _digest(text: bytes, envelope: Envelope, key: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16, person=_DIGEST_PERSON[envelope.source], key=key).hexdigest()


def _split(event: dict[str, Json]) -> tuple[list[Any], str | None, str | None]:
    """The values of the documented types in the order of _DOCUMENTED, `odd` and `extra`."""
    typed: list[Any] = []
    odd: dict[str, Json] = {}
    for name, documented in _DOCUMENTED:
        value = event.get(name)
        if value is None:
            typed.append(None)
        elif type(value) is documented:
            if documented is int and value not in _INTEGERS:
                odd[name] = value
                value = None
            typed.append(canonical(value).decode() if documented is dict else value)
        elif documented is float and type(value) is int and abs(value) <= _LARGEST_EXACT_IN_A_DOUBLE:
            typed.append(float(value))
        else:
            odd[name] = value
            typed.append(None)
    extra = None if event.keys() <= _KNOWN else canonical({key: event[key] for key in event.keys() - _KNOWN}).decode()
    return typed, canonical(odd).decode() if odd else None, extra


def _odd_time(created_at: object) -> int | None:
    read = None if created_at is None else read_timestamp(created_at)
    return None if isinstance(read, Unreadable) else read
