-- Every claim path is listed in meta_claims. An endless number of paths means that ids are used as names. The claims
-- column still keeps everything, but only the first paths are listed or become columns.
-- table: meta_claims
-- severity: warn
-- finds: partitions with more claim paths than are listed: {lake_partition}
select lake_partition, unlisted_claim_count as unlisted_path_count
from stg_lake_days
where unlisted_claim_count > 0
union all
select 'the whole home' as lake_partition, max(unlisted_path_count) as unlisted_path_count
from meta_claims
having max(unlisted_path_count) > 0
