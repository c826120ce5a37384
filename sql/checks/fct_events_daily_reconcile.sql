-- The events counted are the events staged, day by day.
-- table: fct_events_daily
-- severity: error
-- scope: event_date
with staged as (
    select event_date, count(*) as staged_count
    from stg_embed_events
    cross join source.parameters
    where occurred_at between plausible_from and plausible_until
    group by event_date
),

counted as (
    select event_date, sum(event_count)::bigint as event_count from fct_events_daily group by event_date
)

select event_date, staged_count, event_count
from staged
full join counted using (event_date)
where staged_count is distinct from event_count
