-- The vendor's pages list every status of an embed that was seen.
-- table: stg_embeds
-- severity: warn
-- finds: statuses that the vendor's pages do not list: {status}
select status, count(*) as embed_count, min(fetched_at) as first_fetched_at
from stg_embeds
where status not in (select status from source.embed_statuses)
group by status
