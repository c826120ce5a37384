-- The errors counted are the errors staged, for each day, column key and error code.
-- table: fct_validation_errors_daily
-- severity: error
-- scope: event_date
with staged as (
    select
        event_date, environment_name, template_key, column_key, error_code,
        least(sum(error_count), 9223372036854775807)::bigint as staged_count
    from stg_validation_errors
    cross join source.parameters
    where occurred_at between plausible_from and plausible_until
    group by all
)

select
    coalesce(staged.event_date, counted.event_date) as event_date,
    coalesce(staged.column_key, counted.column_key) as column_key,
    coalesce(staged.error_code, counted.error_code) as error_code,
    staged_count, error_count
from staged
full join fct_validation_errors_daily as counted
    on counted.event_date = staged.event_date
    and counted.environment_name is not distinct from staged.environment_name
    and counted.template_key is not distinct from staged.template_key
    and counted.column_key = staged.column_key
    and counted.error_code = staged.error_code
where staged_count is distinct from error_count or latest_error_count > error_count
