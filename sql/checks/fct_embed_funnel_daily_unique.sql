-- Each cohort has one row per step.
-- table: fct_embed_funnel_daily
-- severity: error
-- scope: entry_date
select entry_date, environment_name, template_key, entry_trigger_type, step_number, count(*) as row_count
from fct_embed_funnel_daily
group by entry_date, environment_name, template_key, entry_trigger_type, step_number
having count(*) > 1
