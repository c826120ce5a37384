-- Every session has an entry, a last event, a furthest step and an outcome; without a plausible time the outcome is unknown.
-- table: fct_embeds
-- severity: error
-- scope: embed_id
select embed_id, entry_at, last_event_at, furthest_step, outcome, event_count
from fct_embeds
where
    (entry_at is null or entry_date is null or last_event_at is null) <> (outcome = 'unknown')
    or is_entry_observed is null
    or last_event_type is null
    or event_count is null
    or furthest_step is null
    or outcome is null
