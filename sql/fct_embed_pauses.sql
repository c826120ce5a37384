-- How long a session was idle at a step before it went on: from one of its events to its next one, while this was its
-- furthest step. Only pauses of 15 minutes and more count, and none after an embed_closed: that session had ended. What comes
-- after the last event is no pause: nobody knows yet whether it ends.
-- Events are ordered, and steps counted, as in fct_embeds: only events with a plausible time (see meta_build).
-- grain: embed_id, step
-- refresh: embed_id
-- time: plausible_until reaches stg_embed_events.occurred_at
with parameters as (
    select plausible_from, plausible_until from source.parameters
),

timed_events as not materialized (
    select embed_id, event_uuid, event_id, event_type, occurred_at
    from stg_embed_events
    cross join parameters
    where occurred_at between plausible_from and plausible_until
),

-- Most sessions are over sooner. Only these are sorted.
long_embeds as (
    select embed_id
    from timed_events
    group by embed_id
    having max(occurred_at) >= min(occurred_at) + interval 15 minutes
),

followed as (
    select
        embed_id, event_type, occurred_at,
        lead(occurred_at) over in_order as next_at,
        max(coalesce(step_number, 1)) over in_order as step_number
    from timed_events
    semi join long_embeds using (embed_id)
    left join source.funnel_steps on step = event_type
    window in_order as (
        partition by embed_id order by occurred_at, event_id nulls last, event_uuid
        rows between unbounded preceding and current row
    )
),

pauses as (
    select embed_id, step_number, occurred_at, next_at, date_diff('microsecond', occurred_at, next_at) / 1e6 as seconds
    from followed
    where event_type <> 'embed_closed' and next_at >= occurred_at + interval 15 minutes
)

select
    embed_id, -- the embed session; not null
    step, -- the furthest step that it had done by then, embed_initialized where none; not null
    count(*) as pause_count, -- its pauses at that step; not null
    max(seconds) as longest_pause_seconds, -- the longest of them; not null
from pauses
inner join source.funnel_steps using (step_number)
group by embed_id, step
order by embed_id, step
