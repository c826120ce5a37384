-- Operations of the last 30 days by type
-- kind: by_category
-- unit: operations
select
    coalesce(operation, 'not said') as category,
    coalesce(trigger_type, 'not said') as series,
    sum(operation_count)::bigint as row_count
-- rpt_metrics counts operations, too, but without their types, which are what this table is asked for.
from fct_sheet_operations_daily
where event_date > (select max(event_date) from fct_sheet_operations_daily) - 30
group by category, series
order by category, series
