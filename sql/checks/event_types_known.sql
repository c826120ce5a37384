-- The vendor's page lists every event type and trigger type that was seen.
-- table: meta_event_types
-- severity: warn
select event_type, event_count, first_seen_at, last_seen_at, unknown_trigger_types
from meta_event_types
where not is_known or unknown_trigger_types is not null
