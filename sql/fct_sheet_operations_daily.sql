-- Operations on the Review & Finalize pane by day: event date x environment x template x trigger type x operation.
-- Only operations with a plausible time count (see meta_build).
-- grain: event_date, environment_name, template_key, trigger_type, operation
-- refresh: event_date
-- time: plausible_until reaches stg_embed_events.occurred_at
with parameters as (
    select plausible_from, plausible_until from source.parameters
),

operations as (
    select stg_embed_events.*
    from stg_embed_events
    cross join parameters
    where event_type = 'sheet_operation_performed' and occurred_at between plausible_from and plausible_until
)

select
    event_date, -- UTC date of the operations; not null
    environment_name, -- environment of the events
    template_key, -- template of the events
    trigger_type, -- who performed it: user, api or automation
    operation, -- the operation; NULL where the event does not say
    count(*) as operation_count, -- operations performed; not null
    count(distinct embed_id) as embed_count, -- sessions with such an operation; not null
from operations
group by event_date, environment_name, template_key, trigger_type, operation
order by event_date, environment_name, template_key, trigger_type, operation
