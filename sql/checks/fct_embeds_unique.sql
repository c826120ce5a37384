-- Each session has one row.
-- table: fct_embeds
-- severity: error
-- scope: embed_id
select embed_id, count(*) as row_count
from fct_embeds
group by embed_id
having count(*) > 1
