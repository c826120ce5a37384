-- Each session has one row per column key and error code.
-- table: fct_embed_validation_errors
-- severity: error
-- scope: embed_id
select embed_id, column_key, error_code, count(*) as row_count
from fct_embed_validation_errors
group by embed_id, column_key, error_code
having count(*) > 1
