-- Events by day: event date x environment x template x event type x trigger type, unknown types included.
-- Only events with a plausible time count (see meta_build).
-- grain: event_date, environment_name, template_key, event_type, trigger_type
-- refresh: event_date
-- time: plausible_until reaches stg_embed_events.occurred_at
with parameters as (
    select plausible_from, plausible_until from source.parameters
),

events as (
    select stg_embed_events.*
    from stg_embed_events
    cross join parameters
    where occurred_at between plausible_from and plausible_until
)

select
    event_date, -- UTC date of the events; not null
    environment_name, -- environment of the events
    template_key, -- template of the events
    event_type, -- type of the events; not null
    trigger_type, -- user, api or automation
    count(*) as event_count, -- events; not null
    count(*) filter (source = 'both') as agreed_count, -- of these, events that both the API and a webhook delivered; not null
    count(distinct embed_id) as embed_count, -- sessions with such an event; not null
    min(occurred_at) as first_seen_at, -- first of the events (UTC)
    max(occurred_at) as last_seen_at, -- last of the events (UTC)
from events
group by event_date, environment_name, template_key, event_type, trigger_type
order by event_date, environment_name, template_key, event_type, trigger_type
