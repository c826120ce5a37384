-- One embed session x column key x error code that one of its events named: how many cells when errors were first counted,
-- how many when they were last counted, and whether that count still holds.
-- A report is an event with validation error counts, whatever its type; the vendor documents them on columns_mapped alone, so
-- as a rule a count is one at mapping. A pair that is absent from a report counts 0 there; where some of the report cannot
-- be read, a pair that was not read is NULL.
-- is_resolved is NULL where the sheet changed after the last report, and where that report cannot be read: what is not known
-- is neither resolved nor left. Ask `is_resolved is not true` for what may be left, `is_resolved = false` for what was.
-- Only events with a plausible time count (see meta_build).
-- grain: embed_id, column_key, error_code
-- refresh: embed_id
-- time: plausible_until reaches stg_embed_events.occurred_at
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
    where (has_error_counts or has_unreadable_error_counts) and occurred_at between plausible_from and plausible_until
),

named as (
    select
        embed_id, column_key, error_code,
        sum(error_count) filter (report_number = 1)::bigint as first_named_count,
        sum(error_count) filter (report_number = report_count)::bigint as last_named_count,
        min(occurred_at) as first_seen_at,
        max(occurred_at) as last_seen_at
    from stg_validation_errors
    inner join reports using (event_uuid)
    group by embed_id, column_key, error_code
),

-- What a report does not name is 0 where all of it was read: the session has a total then.
pairs as (
    select
        embed_id, environment_name, template_key, customer_id, customer_name, plan, column_key, error_code,
        coalesce(first_named_count, case when first_error_count is not null then 0 end) as first_pair_count,
        coalesce(last_named_count, case when last_error_count is not null then 0 end) as last_pair_count,
        first_seen_at, last_seen_at, last_counted_at, last_counted_event_type, operations_after_count, is_recounted
    from named
    inner join fct_embeds using (embed_id)
)

select
    embed_id, -- the embed session; not null
    environment_name, -- environment of the session's entry event
    template_key, -- template of the session's entry event
    customer_id, -- the session's customer: the id, else the name, after the claims policy (see fct_embeds)
    customer_name, -- the customer's name, after the claims policy (see fct_embeds)
    plan, -- the customer's plan, after the claims policy (see fct_embeds)
    column_key, -- key of the template column; not null
    error_code, -- validation error code; not null
    first_pair_count as first_error_count, -- cells with the error when errors were first counted, as a rule at columns_mapped; NULL where that report cannot be read
    last_pair_count as last_error_count, -- cells with the error when errors were last counted, at last_counted_at; NULL where that report cannot be read
    first_seen_at, -- first event that named the pair (UTC)
    last_seen_at, -- last event that named the pair (UTC)
    last_counted_at, -- when the session's errors were last counted: its last event with validation error counts, readable or not (UTC); not null
    last_counted_event_type, -- type of that event: columns_mapped unless the account reports counts elsewhere, too; not null
    operations_after_count, -- sheet operations of the session after it: work that last_error_count does not know of; not null
    case when is_recounted then last_pair_count = 0 end as is_resolved, -- no cell had the error when errors were last counted, and the sheet did not change after that; NULL where it did (an operation, an upload, a header, a mapping without counts) and where the last report cannot be read
from pairs
order by embed_id, column_key, error_code
