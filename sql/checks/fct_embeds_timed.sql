-- A session has an entry and a last event where any of its events has a plausible time; else its outcome is unknown.
-- table: fct_embeds
-- severity: error
-- scope: embed_id
select embed_id, entry_at, entry_date, last_event_at, outcome
from fct_embeds
where (entry_at is null or entry_date is null or last_event_at is null) <> (outcome = 'unknown')
