"""The raw layer: what the vendor said, append-only.

Values of the documented types have typed columns, so that flattening decodes no JSON for plain events. A known field
with any other value is kept as it came in `odd`, and unknown fields in `extra`. Together, the typed columns, `data`,
`odd` and `extra` hold the whole event except its credentials.
"""

import polars as pl

from pipelines.home.tables import TIMESTAMP, Column, Table
from pipelines.oneschema.embed_fields import EMBED_FIELDS
from pipelines.oneschema.event_fields import EVENT_FIELDS

RAW_EMBED_EVENTS = Table(
    name="embed_events",
    description="One delivered event with the envelope it came in: self-contained, never joined again.",
    columns=(
        *(field.in_raw for field in EVENT_FIELDS),
        Column("odd", pl.String(), "JSON object: known fields whose value is not of the documented type, as they came"),
        Column("extra", pl.String(), "JSON object: fields that the vendor does not document, as they came"),
        Column("claims", pl.String(), "payload of the event's JWT, else of its embed's, after the claim policy (JSON)"),
        Column("jwt_status", pl.String(), "verified, unverified, invalid_signature, malformed or missing"),
        Column("token_fingerprint", pl.String(), "truncated keyed digest of the JWT; all that is kept of a bad one"),
        Column("source", pl.String(), "api or webhook"),
        Column("fetched_at", TIMESTAMP, "when the delivery was received (UTC)"),
        Column("sweep_id", pl.String(), "the sweep, or webhook journal segment, that landed it"),
        Column(
            "digest",
            pl.String(),
            "content digest of the event without credentials and envelope (hex); may be keyed",
        ),
    ),
)

RAW_EMBEDS = Table(
    name="embeds",
    description="One row whenever a field of an embed or its token's payload changed.",
    columns=(
        Column("embed_id", pl.Int64(), "`id` of the embed"),
        *(field.in_raw for field in EMBED_FIELDS),
        Column("environment_name", pl.String(), "ONESCHEMA_ENVIRONMENT of the sweep that saw it"),
        Column("claims", pl.String(), "JWT payload after the claim policy (JSON)"),
        Column("jwt_status", pl.String(), "verified, unverified, invalid_signature, malformed or missing"),
        Column("token_fingerprint", pl.String(), "truncated keyed digest of the JWT"),
        Column("fetched_at", TIMESTAMP, "when the list or the embed was received (UTC)"),
        Column("sweep_id", pl.String(), "the sweep that saw it"),
    ),
)

RAW_SWEEPS = Table(
    name="sweeps",
    description="One row per sweep of the API, even if it found nothing.",
    columns=(
        Column("sweep_id", pl.String(), "identity of the sweep; sorts by start"),
        Column("kind", pl.String(), "refresh, backfill or reconcile"),
        Column("started_at", TIMESTAMP, "start (UTC)"),
        Column("finished_at", TIMESTAMP, "end (UTC)"),
        Column(
            "is_complete", pl.Boolean(), "the embeds were listed and every due one was asked (some may have failed)"
        ),
        Column("listed_count", pl.Int64(), "embeds listed"),
        Column("list_total_count", pl.Int64(), "the total of embeds that the list itself gives; NULL: it gives none"),
        Column("new_embed_count", pl.Int64(), "embeds not known before"),
        Column("due_count", pl.Int64(), "embeds due"),
        Column("fetched_count", pl.Int64(), "embeds whose events were fetched"),
        Column("gone_count", pl.Int64(), "embeds answered with 404"),
        Column("failed_count", pl.Int64(), "embeds that failed"),
        Column("delivered_event_count", pl.Int64(), "events in the answers"),
        Column("landed_event_count", pl.Int64(), "events that were new or changed, and landed"),
        Column("request_count", pl.Int64(), "HTTP requests sent, retries included"),
        Column("failures", pl.String(), "JSON array of {embed_id (null: listed without an id), error, is_transient}"),
        Column("unasked_embed_count", pl.Int64(), "embeds not answered for half the retention period; NULL: unknown"),
        Column("first_loss_at", TIMESTAMP, "when the first of those could lose an event to retention (UTC)"),
        Column(
            "coverage",
            pl.String(),
            "reconcile only, by event date: JSON array of {event_date, held_at_source_count, held_purged_count, "
            "unheld_count (the source had it when the embed was last asked: must be 0), new_at_source_count}",
        ),
        Column("environment_name", pl.String(), "ONESCHEMA_ENVIRONMENT of the sweep; NULL: none was set"),
        Column(
            "unseen_embed_count",
            pl.Int64(),
            "embeds answered again after longer than the retention period, although they were due; NULL: unknown",
        ),
        Column("unseen_from", TIMESTAMP, "from when on their events could be deleted before an answer had them (UTC)"),
        Column("unseen_until", TIMESTAMP, "until when (UTC)"),
        Column(
            "clock_ahead_sweeps",
            pl.String(),
            "JSON array of the sweeps before this one that say they began later, so that a clock was wrong; NULL: none",
        ),
        Column(
            "coverage_by_environment",
            pl.String(),
            "reconcile only: JSON array of {event_date, environment_name, source_count, unheld_count}: the events in "
            "its answers, and those of coverage's unheld_count; NULL where they were not counted so",
        ),
    ),
)
