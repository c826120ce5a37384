-- Every event has its identity, session, type, time and token status, and its event_date is the date of its time.
-- table: stg_embed_events
-- severity: error
-- scope: embed_id
select event_uuid, embed_id, event_type, occurred_at, event_date, lake_partition
from stg_embed_events
where
    event_uuid is null
    or embed_id is null
    or event_type is null
    or occurred_at is null
    or event_date is distinct from occurred_at::date
    or has_error_counts is null
    or has_unreadable_error_counts is null
    or source is null
    or landed_at is null
    or jwt_status is null
    or lake_partition is null
