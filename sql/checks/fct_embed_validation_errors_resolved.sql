-- is_resolved is said where a count that was read is newer than the last change of the sheet, and is NULL elsewhere.
-- table: fct_embed_validation_errors
-- severity: error
-- scope: embed_id
with changes as (
    select embed_id, max(occurred_at) as changed_at
    from stg_embed_events
    cross join source.parameters
    where
        event_type in ('file_uploaded', 'header_selected', 'columns_mapped', 'sheet_operation_performed')
        and occurred_at between plausible_from and plausible_until
    group by embed_id
)

select embed_id, column_key, error_code, last_error_count, last_counted_at, changed_at, is_resolved
from fct_embed_validation_errors
left join changes using (embed_id)
where
    case
        when last_error_count is null or changed_at > last_counted_at then is_resolved is not null
        when changed_at < last_counted_at then is_resolved is distinct from (last_error_count = 0)
        -- At one instant their order decides; as a rule the mapping is both the change and the count.
        else is_resolved <> (last_error_count = 0)
    end
