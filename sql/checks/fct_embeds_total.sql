-- fct_embeds.event_count sums to the staged events over the whole warehouse, untouched sessions included.
-- table: fct_embeds
-- severity: error
with staged as (
    select count(*) as staged_count from stg_embed_events
),

counted as (
    select coalesce(sum(event_count), 0)::bigint as counted_count from fct_embeds
)

select staged_count, counted_count
from staged
cross join counted
where staged_count <> counted_count
