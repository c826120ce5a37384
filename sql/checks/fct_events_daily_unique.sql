-- Each day has one row per environment, template, event type and trigger type.
-- table: fct_events_daily
-- severity: error
-- scope: event_date
select event_date, environment_name, template_key, event_type, trigger_type, count(*) as row_count
from fct_events_daily
group by event_date, environment_name, template_key, event_type, trigger_type
having count(*) > 1
