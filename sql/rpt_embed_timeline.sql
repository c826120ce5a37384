-- Every event of a session in order. Ask for one session: where embed_id = ...
-- grain: embed_id, event_number
-- refresh: view
with events as (
    select * from stg_embed_events
),

customers as (
    select embed_id, customer_id, customer_name, plan from fct_embeds
),

ordered as (
    select
        *,
        row_number() over session as event_number,
        lag(occurred_at) over session as previous_at
    from events
    window session as (partition by embed_id order by occurred_at, event_id nulls last, event_uuid)
),

-- By embed_id as well, so that one session's errors alone are read.
errors as (
    select embed_id, event_uuid, sum(error_count)::bigint as error_count
    from stg_validation_errors
    group by embed_id, event_uuid
)

select
    embed_id, -- the embed session
    event_number, -- 1 for the session's first event, in the order of occurred_at, event_id, event_uuid
    occurred_at, -- when it happened (UTC)
    date_diff('microsecond', previous_at, occurred_at) / 1e6 as seconds_since_previous, -- seconds since the previous event; NULL for the first
    event_type, -- what happened
    trigger_type, -- user, api or automation
    operation, -- the sheet operation that was performed
    import_type, -- how the import was made
    has_error_counts, -- the event carries validation error counts
    case when has_error_counts and not has_unreadable_error_counts then coalesce(error_count, 0) end as error_count, -- validation errors that it reports, of all columns and codes together; NULL where it carries no counts, and where some of them cannot be read
    environment_name, -- environment of the event
    template_key, -- template of the event
    data, -- the event's data as JSON
    claims ->> '$.user_id' as user_id, -- the user_id claim of the event
    customers.customer_id, -- the session's customer: the id, else the name, after the claims policy (see fct_embeds)
    customers.customer_name, -- the customer's name, after the claims policy (see fct_embeds)
    customers.plan, -- the customer's plan, after the claims policy (see fct_embeds)
    event_id, -- the event's number within the API
    event_uuid, -- identity of the event
from ordered
left join customers using (embed_id)
left join errors using (embed_id, event_uuid)
