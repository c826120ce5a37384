-- Each event has one count per column key and error code.
-- table: stg_validation_errors
-- severity: error
-- scope: embed_id
select event_uuid, column_key, error_code, count(*) as row_count
from stg_validation_errors
group by event_uuid, column_key, error_code
having count(*) > 1
