"""Claims taken apart: what comes of keys that are identifiers, and of many shapes."""

import json
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipelines.flatten import claim_lists
from pipelines.flatten.claim_columns import ClaimColumn
from pipelines.flatten.claims import read_claims


def events(payloads: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date_index": pl.Series([0] * len(payloads), dtype=pl.UInt32),
            "claims": [json.dumps(payload) for payload in payloads],
            "occurred_at": [datetime(2024, 1, 24) + timedelta(seconds=number) for number in range(len(payloads))],
        }
    )


def test_keys_that_are_trace_ids_take_the_room_of_what_they_hold() -> None:
    """Not one column per key: that would cost the square of their number."""
    count = 3_000
    claims = read_claims(events([{"user_id": f"u{i}", "trace": {f"t-{i}": i, "at": [i]}} for i in range(count)]))
    seen = claims.seen[0]
    assert len(seen) == count + 3
    assert (seen["user_id"].event_count, seen["trace.t-7"].event_count, seen["trace.at"].types) == (count, 1, {"array"})
    lists: list[list[pl.DataFrame]] = [value for value in vars(claims).values() if isinstance(value, list)]
    held = [frame for frames in lists for frame in frames]
    assert sum(frame.height * frame.width for frame in held) < 10 * count

    first = claim_lists.first_paths(seen, 3)
    none = claim_lists.CLAIM_RECORD.to_frame().insert_column(0, pl.Series("event_date", [], pl.String()))
    rows = claim_lists.ClaimsOfDate(seen, first, {}).rows()
    chosen = claim_lists.choose(claim_lists.replaced(none, {"2024-01-24": rows}), 3, {"trace.t-0": "BIGINT"})
    assert chosen == {
        "trace.t-0": ClaimColumn("claim_trace__t_0", "BIGINT"),
        "trace.t-1": ClaimColumn("claim_trace__t_1", "VARCHAR"),
        "user_id": ClaimColumn("claim_user_id", "VARCHAR"),
    }
    values, value_rows = claims.texts(chosen)
    texts = values.select(pl.all().gather(value_rows))
    assert texts["user_id"].to_list() == [f"u{i}" for i in range(count)]
    assert texts["trace.t-1"].to_list() == [None, "1", *[None] * (count - 2)]
