-- Each day has one row per environment, template, trigger type and operation.
-- table: fct_sheet_operations_daily
-- severity: error
-- scope: event_date
select event_date, environment_name, template_key, trigger_type, operation, count(*) as row_count
from fct_sheet_operations_daily
group by event_date, environment_name, template_key, trigger_type, operation
having count(*) > 1
