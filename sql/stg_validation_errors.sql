-- One event x column key x error code, from any event that carries validation error counts. A count that cannot be read
-- has no row; has_unreadable_error_counts of its event says so.
-- grain: event_uuid, column_key, error_code
-- refresh: lake_partition
with errors as (
    select * from source.validation_errors
)

select
    event_uuid, -- the event that carried the count; not null
    embed_id, -- the embed session; not null
    event_type, -- the event's type; not null
    occurred_at, -- when the event happened (UTC); not null
    event_date, -- UTC date of occurred_at; not null
    environment_name, -- the event's environment
    template_key, -- the event's template
    column_key, -- key of the template column; not null
    error_code, -- validation error code; open-ended, customers define their own; not null
    error_count, -- cells with that error when the event happened; not null
    lake_partition, -- partition of the lake that holds the row: a date, usually event_date, or unknown; not null
from errors
