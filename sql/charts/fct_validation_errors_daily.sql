-- Cells with errors when last counted that day, as a rule at mapping, by template
-- kind: by_day
-- unit: cells with errors
with days as (
    select period_start as event_date, template_key, numerator
    from rpt_metrics
    where metric = 'error_cells' and period = 'day' and is_all_environments and not is_all_templates
)

select event_date, template_key as series, numerator::double as row_count
from days
where event_date > (select max(event_date) from days) - 30
order by event_date, template_key
