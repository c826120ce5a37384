-- Every event has the date of its time.
-- table: stg_embed_events
-- severity: error
-- scope: embed_id
select event_uuid, embed_id, event_type, occurred_at, event_date, lake_partition
from stg_embed_events
where event_date is distinct from occurred_at::date
