-- fct_embeds.event_count is the number of staged events, session by session.
-- table: fct_embeds
-- severity: error
-- scope: embed_id
with staged as (
    select embed_id, count(*) as staged_count from stg_embed_events group by embed_id
)

select embed_id, staged_count, event_count
from staged
full join fct_embeds using (embed_id)
where staged_count is distinct from event_count
