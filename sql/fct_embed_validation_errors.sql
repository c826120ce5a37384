-- One embed session x column key x error code that one of its events named: how many cells had it at first and at last.
-- First and last mean the session's first and last events that carry counts. A pair that is absent there counts 0.
-- Only events with a plausible time count (see meta_build).
-- grain: embed_id, column_key, error_code
-- refresh: embed_id
with parameters as (
    select plausible_from, plausible_until from source.parameters
),

reports as (
    select
        event_uuid,
        row_number() over (partition by embed_id order by occurred_at, event_id nulls last, event_uuid) as report_number,
        count(*) over (partition by embed_id) as report_count
    from stg_embed_events
    cross join parameters
    where has_error_counts and occurred_at between plausible_from and plausible_until
),

pairs as (
    select
        embed_id, column_key, error_code,
        coalesce(sum(error_count) filter (report_number = 1), 0)::bigint as first_error_count,
        coalesce(sum(error_count) filter (report_number = report_count), 0)::bigint as last_error_count,
        min(occurred_at) as first_seen_at,
        max(occurred_at) as last_seen_at
    from stg_validation_errors
    inner join reports using (event_uuid)
    group by embed_id, column_key, error_code
)

select
    pairs.embed_id, -- the embed session
    environment_name, -- environment of the session's entry event
    template_key, -- template of the session's entry event
    customer_id, -- the session's customer: the id, else the name, after the claims policy (see fct_embeds)
    customer_name, -- the customer's name, after the claims policy (see fct_embeds)
    plan, -- the customer's plan, after the claims policy (see fct_embeds)
    column_key, -- key of the template column
    error_code, -- validation error code
    pairs.first_error_count, -- cells with the error in the session's first event that carries counts
    pairs.last_error_count, -- cells with the error in the session's last event that carries counts
    first_seen_at, -- first event that named the pair (UTC)
    last_seen_at, -- last event that named the pair (UTC)
    pairs.last_error_count = 0 as is_resolved, -- no cell had the error at last
from pairs
inner join fct_embeds using (embed_id)
order by pairs.embed_id, column_key, error_code
