-- The vendor's page lists every event type that was seen.
-- table: meta_event_types
-- severity: warn
-- finds: event types that the vendor's page does not list: {event_type}
select event_type, event_count, first_seen_at, last_seen_at
from meta_event_types
where not is_known
