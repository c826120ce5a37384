-- Each event is staged once.
-- table: stg_embed_events
-- severity: error
-- scope: embed_id
select event_uuid, count(*) as row_count
from stg_embed_events
group by event_uuid
having count(*) > 1
