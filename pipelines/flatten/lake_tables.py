"""The lake: typed, flat, one row per event uuid. There is one file per day and table, sorted by embed_id, occurred_at.

`embed_events` has claim columns (`claim_<path>`, VARCHAR unless declared) after these. New claims add columns, so
readers glob with `union_by_name`. The warehouse always has `claim_user_id`.

`event_date` is in no file: readers take it from the folder, and two columns of one name are an error to some of them.
An event stays in the folder that held it first. So where its time was corrected, or was not plausible (then the folder
is NO_DATE), the folder does not say the date of `occurred_at`. The warehouse goes by `occurred_at`.
"""

import polars as pl

from pipelines.home.tables import TIMESTAMP, Column, Table
from pipelines.oneschema.event_fields import EVENT_FIELDS

FOLDER_COLUMN = "event_date"

# The columns that flattening derives, by the column that they follow.
_DERIVED = {
    "occurred_at": [Column("event_date", pl.Date(), "UTC date of occurred_at", required=True)],
    "template_key": [
        Column("operation", pl.String(), "`data.operation`: the sheet operation that was performed"),
        Column("import_type", pl.String(), "`data.import_type`: how the import was made"),
    ],
    "has_snapshot": [
        Column(
            "has_error_counts",
            pl.Boolean(),
            "`data.validation_error_counts` is an object within EMBED_ANALYTICS_COLUMN_KEY_LIMIT; {} reports no errors",
            required=True,
        ),
        Column(
            "has_unreadable_error_counts",
            pl.Boolean(),
            "`data.validation_error_counts`, or something in it, cannot be read: what was not read is not known",
            required=True,
        ),
    ],
}

LAKE_EMBED_EVENTS = Table(
    name="embed_events",
    description="One event: every delivery of one uuid merged.",
    columns=(
        *(column for field in EVENT_FIELDS for column in (field.in_lake, *_DERIVED.get(field.column, []))),
        Column("extra", pl.String(), "JSON object of event fields that the vendor does not document"),
        Column("source", pl.String(), "api, webhook or both", required=True),
        Column("landed_at", TIMESTAMP, "first landing of any delivery (UTC)", required=True),
        Column(
            "jwt_status", pl.String(), "verified, unverified, invalid_signature, malformed or missing", required=True
        ),
        Column("claims", pl.String(), "JWT payload as JSON, after the claim policy, arrays included"),
    ),
)

LAKE_VALIDATION_ERRORS = Table(
    name="validation_errors",
    description="One event x column key x error code, from any event that carries validation_error_counts.",
    columns=(
        Column("event_uuid", pl.String(), "the event that carried the count", required=True),
        Column("embed_id", pl.Int64(), "the embed session", required=True),
        Column("event_type", pl.String(), "the event's type", required=True),
        Column("occurred_at", TIMESTAMP, "when the event happened (UTC)", required=True),
        Column("event_date", pl.Date(), "UTC date of occurred_at", required=True),
        Column("environment_name", pl.String(), "the event's environment"),
        Column("template_key", pl.String(), "the event's template"),
        Column("column_key", pl.String(), "key of the template column", required=True),
        Column("error_code", pl.String(), "validation error code; open-ended", required=True),
        Column("error_count", pl.Int64(), "cells with that error when the event happened", required=True),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    description="What could not be read: whole events (level=event), and fields of events with a row (level=field).",
    columns=(
        Column(
            "event_date",
            pl.String(),
            "the event date that holds the delivery in raw: a date or `unknown`",
            required=True,
        ),
        Column("level", pl.String(), "event or field", required=True),
        Column("event_uuid", pl.String(), "identity of the event, where it could be read"),
        Column("embed_id", pl.Int64(), "the embed session, where it could be read"),
        Column("field", pl.String(), "the field that could not be read, dotted below data", required=True),
        Column("reason", pl.String(), "why", required=True),
        Column("payload", pl.String(), "level=event: the whole event as JSON; level=field: the field's value as JSON"),
        Column("fetched_at", TIMESTAMP, "when the delivery was received (UTC)"),
        Column("digest", pl.String(), "content digest of the delivery"),
    ),
)

# For the reconciliation of deliveries and for meta_coverage (see flatten.days.catalogues).
LAKE_DAYS = Table(
    name="days",
    description="What one day's flattening did: deliveries in raw = events + merged duplicates + quarantined.",
    columns=(
        Column("event_date", pl.String(), "the date in the folder's name, or `unknown`", required=True),
        Column("delivery_count", pl.Int64(), "rows in raw", required=True),
        Column("event_count", pl.Int64(), "rows in the lake", required=True),
        Column("merged_count", pl.Int64(), "deliveries merged into another row of the same uuid", required=True),
        Column("quarantined_count", pl.Int64(), "deliveries quarantined whole", required=True),
        Column("field_quarantined_count", pl.Int64(), "quarantined fields of events that have a row", required=True),
        # NULL in files of a former version, which removed none.
        Column("expired_quarantined_count", pl.Int64(), "of quarantined_count: those whose row has expired"),
        Column("expired_field_quarantined_count", pl.Int64(), "of field_quarantined_count: likewise"),
        Column(
            "conflict_count",
            pl.Int64(),
            "events whose deliveries disagreed in a field, leaving nulls aside",
            required=True,
        ),
        Column("validation_error_count", pl.Int64(), "rows in validation_errors", required=True),
        Column(
            "unlisted_claim_count",
            pl.Int64(),
            "claim paths of its events that are not listed for the catalogue (see flatten.claim_lists)",
            required=True,
        ),
        Column("encrypted_count", pl.Int64(), "events of whose claims raw has any encrypted", required=True),
        Column(
            "missing_key_count",
            pl.Int64(),
            "those of them with a claim that is NULL because its key is missing; erased ones have none",
            required=True,
        ),
        Column("first_landed_at", TIMESTAMP, "first fetched_at of the event date (UTC)"),
        Column("last_landed_at", TIMESTAMP, "last fetched_at of the event date (UTC)"),
    ),
)

CLAIMS_CATALOGUE = Table(
    name="claims",
    description="The claim paths seen, up to a bound: those with a column, then those that were seen first.",
    columns=(
        Column("path", pl.String(), "dotted path in the JWT payload", required=True),
        Column("column_name", pl.String(), "its claim column, NULL when it has none"),
        Column("is_column", pl.Boolean(), "it is a column of stg_embed_events", required=True),
        Column("json_types", pl.String(), "JSON types seen, comma-separated, sorted", required=True),
        Column("event_count", pl.Int64(), "events whose claims have it; NULL with an unlisted_date_count"),
        Column("coverage", pl.Float64(), "event_count / all events"),
        Column("first_seen_at", TIMESTAMP, "first occurred_at of an event that has it (UTC)", required=True),
        Column("last_seen_at", TIMESTAMP, "last occurred_at of an event that has it (UTC)", required=True),
        Column(
            "unlisted_date_count",
            pl.Int64(),
            "event dates that have more paths than they list, and may or may not have this one",
            required=True,
        ),
        Column("unlisted_path_count", pl.Int64(), "at least this many paths of the home are not here", required=True),
    ),
)
