-- The operations counted are the operations staged, day by day.
-- table: fct_sheet_operations_daily
-- severity: error
-- scope: event_date
with staged as (
    select event_date, count(*) as staged_count
    from stg_embed_events
    cross join source.parameters
    where event_type = 'sheet_operation_performed' and occurred_at between plausible_from and plausible_until
    group by event_date
),

counted as (
    select event_date, sum(operation_count)::bigint as operation_count from fct_sheet_operations_daily group by event_date
)

select event_date, staged_count, operation_count
from staged
full join counted using (event_date)
where staged_count is distinct from operation_count
