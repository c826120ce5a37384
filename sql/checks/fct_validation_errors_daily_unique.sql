-- Each day has one row per environment, template, column key and error code.
-- table: fct_validation_errors_daily
-- severity: error
-- scope: event_date
select event_date, environment_name, template_key, column_key, error_code, count(*) as row_count
from fct_validation_errors_daily
group by event_date, environment_name, template_key, column_key, error_code
having count(*) > 1
