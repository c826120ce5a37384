-- Validation errors by day: event date x environment x template x column key x error code.
-- error_count sums over events, so a file that is mapped twice counts twice; latest_error_count does not. The vendor counts
-- errors at columns_mapped, so as a rule both say what sheets had at mapping, and not what was left of it.
-- Only events with a plausible time count (see meta_build).
-- grain: event_date, environment_name, template_key, column_key, error_code
-- refresh: event_date
-- time: plausible_until reaches stg_embed_events.occurred_at
with parameters as (
    select plausible_from, plausible_until from source.parameters
),

-- A report is whole where all of its counts can be read.
reports as (
    select
        event_uuid,
        not has_unreadable_error_counts as is_whole,
        bool_or(is_whole) over (partition by embed_id, event_date) as has_whole,
        is_whole and row_number() over (
            partition by embed_id, event_date, is_whole
            order by occurred_at desc, event_id desc nulls first, event_uuid desc
        ) = 1 as is_latest
    from stg_embed_events
    cross join parameters
    where has_error_counts and occurred_at between plausible_from and plausible_until
)

select
    event_date, -- UTC date of the events; not null
    environment_name, -- environment of the events
    template_key, -- template of the events
    column_key, -- key of the template column; not null
    error_code, -- validation error code; not null
    count(distinct embed_id) as embed_count, -- sessions with an event that named the pair; not null
    count(*) as event_count, -- events that named the pair; not null
    least(sum(error_count), 9223372036854775807)::bigint as error_count, -- cells with the error, summed over events; not null
    case when bool_or(has_whole) then least(coalesce(sum(error_count) filter (is_latest), 0), 9223372036854775807)::bigint end as latest_error_count, -- cells with the error when each session's errors were last counted on the day, as a rule at columns_mapped: in its last report that can be read whole; NULL where there is none
    count(distinct embed_id) filter (not has_whole) as unread_embed_count, -- sessions of embed_count that latest_error_count does not know of: none of their reports of the day can be read whole; not null
from stg_validation_errors
inner join reports using (event_uuid)
group by event_date, environment_name, template_key, column_key, error_code
order by event_date, environment_name, template_key, column_key, error_code
