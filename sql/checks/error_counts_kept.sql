-- No event reports more pairs of column key and error code than EMBED_ANALYTICS_COLUMN_KEY_LIMIT. Of one that does the
-- row stays, and data with all of the counts, but they are treated as counts that cannot be read.
-- table: meta_quarantine
-- severity: warn
-- finds: events with more counts than are read: {event_uuid}
select event_uuid, embed_id, reason
from meta_quarantine
where level = 'field' and field = 'data.validation_error_counts' and reason like '%(EMBED_ANALYTICS_COLUMN_KEY_LIMIT)'
