-- One event type: seen, known, or both. is_known is false for a type that the vendor's page does not list.
-- grain: event_type
-- refresh: whole
with known as (
    select event_type, description from source.event_types
),

-- fct_events_daily leaves out events without a plausible time. They are few, but their types count here too.
counted as (
    select event_type, trigger_type, event_count, first_seen_at, last_seen_at from fct_events_daily
    union all
    select event_type, trigger_type, 1, null, null
    from stg_embed_events
    cross join source.parameters
    where not occurred_at between plausible_from and plausible_until
),

seen as (
    select
        event_type,
        sum(event_count)::bigint as event_count,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        string_agg(distinct trigger_type, ', ' order by trigger_type) as trigger_types,
        string_agg(distinct trigger_type, ', ' order by trigger_type)
            filter (trigger_type not in (select trigger_type from source.trigger_types)) as unknown_trigger_types
    from counted
    group by event_type
)

select
    event_type, -- the type; not null
    known.event_type is not null as is_known, -- the vendor's page lists it; not null
    description, -- how the vendor's page describes it
    coalesce(event_count, 0) as event_count, -- staged events of the type, with or without a plausible time; not null
    first_seen_at, -- first of them with a plausible time (UTC)
    last_seen_at, -- last of them with a plausible time (UTC)
    trigger_types, -- trigger types seen with it, comma-separated
    unknown_trigger_types, -- those of trigger_types that the vendor's page does not list
from known
full join seen using (event_type)
order by event_type
