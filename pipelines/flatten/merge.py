"""Merges the deliveries of one uuid field by field, so that the row depends on what raw holds and not on its order.

For each field: not null before null, then api before webhook, then the later fetched_at, then the smaller digest. The
fields within `data` all come from the delivery whose `data` was taken. A token's status and claims stay together: they
come from the first delivery with claims, else from the first with a token.
"""

import polars as pl

from pipelines.oneschema.event_fields import EVENT_FIELDS

_ALONE = [*(field.column for field in EVENT_FIELDS if field.merge == "alone"), "extra"]
_WITH_DATA = [
    *(field.column for field in EVENT_FIELDS if field.merge == "with data"),
    "operation",
    "import_type",
    "counts",
    "has_unreadable_error_counts",
]
_WITH_TOKEN = ["claims", "jwt_status", "delivery"]
# Decides after that rule, for deliveries of one event that differ only in their envelope.
_ENVELOPE = [field.column for field in EVENT_FIELDS if field.is_enveloped]
_TIES = ["sweep_id", *_ENVELOPE, "token_fingerprint", "jwt_status", "claims"]

MERGED = ["date_index", "event_uuid", *_ALONE, *_WITH_DATA, *_WITH_TOKEN, "source", "landed_at"]


def merge(deliveries: pl.DataFrame) -> pl.DataFrame:
    """One row per date_index and event_uuid, in no order, with the columns MERGED and `is_conflict`.

    `delivery` is the one whose token was taken. `is_conflict` says that two deliveries disagreed in a field in which
    neither was null.
    """
    # Numbers take half the time of texts. Two uuids of one hash are merged as one is: each into a row of its own.
    is_repeated = deliveries["event_uuid"].hash().is_duplicated()
    if not is_repeated.any():
        return _single(deliveries)
    repeated = deliveries.filter(is_repeated)
    merged = (
        repeated.with_columns(is_webhook=pl.col("source") == "webhook")
        .sort(
            "date_index",
            "event_uuid",
            "is_webhook",
            "fetched_at",
            "digest",
            *_TIES,
            descending=[False, False, False, True, False, *(False for _ in _TIES)],
            nulls_last=True,
        )
        .group_by("date_index", "event_uuid", maintain_order=True)
        .agg(
            *(pl.col(name).drop_nulls().first() for name in _ALONE),
            pl.col(_WITH_DATA).sort_by(pl.col("data").is_null(), maintain_order=True).first(),
            pl.col(_WITH_TOKEN)
            .sort_by(pl.col("claims").is_null(), pl.col("jwt_status") == "missing", maintain_order=True)
            .first(),
            source=pl.when(pl.col("source").n_unique() > 1).then(pl.lit("both")).otherwise(pl.col("source").first()),
            landed_at=pl.col("fetched_at").min(),
            is_conflict=pl.any_horizontal(
                pl.col(name).drop_nulls().n_unique() > 1 for name in (*_ALONE, "data", "claims")
            ),
        )
    )
    return pl.concat([_single(deliveries.filter(~is_repeated)), merged.select(*MERGED, "is_conflict")])


def _single(deliveries: pl.DataFrame) -> pl.DataFrame:
    return deliveries.rename({"fetched_at": "landed_at"}).select(*MERGED, pl.lit(value=False).alias("is_conflict"))
