-- One event: all deliveries of its uuid, merged. Unknown event types are rows like any other.
-- After these columns comes a column for each claim (claim_*); meta_claims says which path it holds.
-- grain: event_uuid
-- refresh: lake_partition
with events as (
    select * from source.embed_events
)

select
    event_uuid, -- identity of the event in every channel; not null
    event_id, -- the event's number within the API; NULL when only a webhook brought it
    embed_id, -- the embed session; not null
    event_type, -- what happened, as the vendor calls it; meta_event_types lists the types seen; not null
    trigger_type, -- user, api or automation
    occurred_at, -- when it happened (UTC); not null
    event_date, -- UTC date of occurred_at; not null
    environment_name, -- the event's own environment, else the one that was configured when it was fetched
    template_key, -- the event's own template, else its embed's when it was fetched
    operation, -- the sheet operation that was performed
    import_type, -- how the import was made
    has_snapshot, -- a snapshot of the sheet exists for this event
    has_error_counts, -- the event carries validation error counts; an empty report counts as one; not null
    has_unreadable_error_counts, -- its validation error counts, or some of them, cannot be read: what was not read is not known (meta_quarantine); not null
    data, -- the event's data as JSON, extra keys included
    extra, -- JSON object of the fields that are not in the vendor's reference
    source, -- the channels that delivered it: api, webhook or both; not null
    landed_at, -- when its first delivery landed (UTC); not null
    jwt_status, -- verified, unverified, invalid_signature, malformed or missing; not null
    claims, -- JWT payload as JSON after the claim policy, arrays included
    lake_partition, -- partition of the lake that holds the event: a date, usually event_date, or unknown; not null
    columns('^claim_')
from events
