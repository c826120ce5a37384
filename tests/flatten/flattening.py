"""The fast path as the tests drive it: deliveries landed in a home of their own and flattened there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import SecretStr

from pipelines.home.layout import Home, partition_folder
from pipelines.oneschema.tokens import TokenReader
from pipelines.raw.raw_rows import Envelope, to_raw
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS
from tests.flatten.reference import HASH_KEY, Delivery


def token_reader(secrets: dict[str, str], policy: Mapping[str, str] | None = None) -> TokenReader:
    client_secrets = {client: SecretStr(secret) for client, secret in secrets.items()}
    return TokenReader(client_secrets, policy or {}, SecretStr(HASH_KEY))


def land(deliveries: Sequence[Delivery], tokens: TokenReader) -> tuple[pl.DataFrame, list[Delivery]]:
    """The raw rows of deliveries, news alone, and those deliveries with their digests.

    As landing does it: a (uuid, digest) is landed once, and the versions of one uuid lie in one folder, here the
    smallest, so that the folders do not depend on the order either.
    """
    raw = to_raw(
        [
            (
                d.event,
                Envelope(
                    d.embed_id,
                    d.template_key,
                    d.environment_name,
                    tokens.read(d.token),
                    d.source,
                    d.fetched_at,
                    "sweep",
                ),
            )
            for d in deliveries
        ],
        tokens,
    ).with_row_index("position")
    identity = pl.coalesce("event_uuid", "digest")
    raw = raw.with_columns(event_date=pl.col("event_date").min().over(identity))
    raw = raw.sort("fetched_at", "source", "position", descending=[True, False, False]).unique(
        [identity, "digest"], keep="first", maintain_order=True
    )
    known: list[tuple[int, str]] = raw.select("position", "digest").rows()
    found = [replace(deliveries[position], digest=digest) for position, digest in known]
    return raw.drop("position"), found


def write_raw(home: Home, raw: pl.DataFrame, name: str) -> None:
    """A raw file per folder of the rows (RAW_EMBED_EVENTS and event_date)."""
    for (event_date,), rows in raw.group_by("event_date", maintain_order=True):
        folder = partition_folder(home.raw_embed_events, str(event_date))
        folder.mkdir(parents=True, exist_ok=True)
        rows.select(RAW_EMBED_EVENTS.names).write_parquet(folder / f"{name}.parquet")


def read_table(table: Path) -> pl.DataFrame:
    """All files of the quarantine, or of a lake table, where event_date is the date of the event's time. Without files
    there are no rows and no columns."""
    files = sorted(table.glob("*/*.parquet"))
    frames = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    if table.parent.name == "lake":
        assert not any("event_date" in frame.columns for frame in frames)
        frames = [frame.with_columns(event_date=pl.col("occurred_at").dt.date()) for frame in frames]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def decoded(text: str | None) -> Any:
    """JSON with 1, 1.0, True and "1" told apart; None for None."""
    return (
        None
        if text is None
        else json.loads(text, parse_int=lambda n: ("int", int(n)), parse_float=lambda n: ("float", float(n)))
    )


def decoded_claims(text: str | None) -> Any:
    """JSON with its numbers told apart by their digits; None for None."""
    return (
        None
        if text is None
        else json.loads(text, parse_int=lambda n: ("number", n), parse_float=lambda n: ("number", n))
    )


def rows_by_uuid(events: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["event_uuid"]: row for row in events.iter_rows(named=True)}
