-- Each embed has one row.
-- table: stg_embeds
-- severity: error
-- scope: embed_id
select embed_id, count(*) as row_count
from stg_embeds
group by embed_id
having count(*) > 1
