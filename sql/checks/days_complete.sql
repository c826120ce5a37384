-- No gap is known that no reconcile has closed: of no day events may be missing. docs/operations.md says what to do.
-- table: meta_completeness
-- severity: warn
-- finds: days of which events may be missing: {event_date}
select event_date, environment_name, reason
from meta_completeness
where verdict = 'incomplete'
order by event_date desc, environment_name
