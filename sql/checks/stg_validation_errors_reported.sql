-- Every count belongs to a staged event that carries counts, of the same session and date.
-- table: stg_validation_errors
-- severity: error
-- scope: embed_id
select errors.event_uuid, errors.embed_id, errors.column_key, errors.error_code, errors.error_count
from stg_validation_errors as errors
left join stg_embed_events as events on events.event_uuid = errors.event_uuid and events.has_error_counts
where
    events.event_uuid is null
    or events.embed_id <> errors.embed_id
    or events.event_date <> errors.event_date
