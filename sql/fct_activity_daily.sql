-- What happened on each day, by the date of the events and not of the sessions: one row per metric and choice of environment
-- and template. rpt_metrics says what each metric means, and is the one to ask.
-- Only events with a plausible time count (see meta_build).
-- grain: event_date, is_all_environments, environment_name, is_all_templates, template_key, metric
-- refresh: event_date
with events as (
    select event_date, environment_name, template_key, 'events' as metric, event_count as amount from fct_events_daily
),

-- Each day of events has all metrics, so that a day without errors says 0.
nothing as (
    select distinct event_date, environment_name, template_key, unnest(['error_cells', 'operations', 'operations_by_hand']) as metric, 0 as amount
    from fct_events_daily
),

errors as (
    select event_date, environment_name, template_key, 'error_cells' as metric, coalesce(latest_error_count, 0) as amount
    from fct_validation_errors_daily
),

operations as (
    select event_date, environment_name, template_key, unnest(['operations', 'operations_by_hand']) as metric,
        unnest([operation_count, if(trigger_type = 'user', operation_count, 0)]) as amount
    from fct_sheet_operations_daily
),

amounts as (
    from events
    union all
    from nothing
    union all
    from errors
    union all
    from operations
)

select
    event_date, -- UTC date of the events; not null
    grouping(environment_name) = 1 as is_all_environments, -- the row is of all environments together; not null
    environment_name, -- else their environment; NULL where not known
    grouping(template_key) = 1 as is_all_templates, -- the row is of all templates together; not null
    template_key, -- else their template; NULL where not known
    metric, -- which number; not null
    least(sum(amount::hugeint), 9223372036854775807)::bigint as numerator, -- what is counted; not null
from amounts
group by event_date, metric, cube (environment_name, template_key)
order by event_date, is_all_environments, environment_name, is_all_templates, template_key, metric
