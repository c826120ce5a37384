-- Cells with errors when last counted that day, as a rule at mapping, by column
-- kind: by_day
-- unit: cells with errors
select event_date, column_key as series, coalesce(sum(latest_error_count), 0)::double as row_count
from fct_validation_errors_daily
where event_date > (select max(event_date) from fct_validation_errors_daily) - 30
group by event_date, column_key
order by event_date, column_key
