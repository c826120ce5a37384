-- The vendor's page lists every trigger type that was seen.
-- table: meta_event_types
-- severity: warn
-- finds: trigger types that the vendor's page does not list: {trigger_type}
select
    unnest(string_split(unknown_trigger_types, ', ')) as trigger_type,
    event_type, first_seen_at, last_seen_at
from meta_event_types
where unknown_trigger_types is not null
