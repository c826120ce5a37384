-- What could not be read: a whole event (level = event), or one field of an event that is staged (level = field).
-- Rows that EMBED_ANALYTICS_KEEP_QUARANTINE_DAYS removed are counted in stg_lake_days.
-- refresh: lake_partition
with quarantine as (
    select * from source.quarantine
)

select
    event_date as lake_partition, -- partition of raw and of the lake that holds the delivery: a date or unknown; not null
    level, -- event or field; not null
    event_uuid, -- identity of the event, where it could be read
    embed_id, -- the embed session, where it could be read
    field, -- the field that could not be read, dotted below data
    reason, -- why
    payload, -- level event: the whole event as JSON; level field: the field's value as JSON
    fetched_at, -- when the delivery was received (UTC)
    digest, -- content digest of the delivery
from quarantine
