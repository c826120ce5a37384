-- The key of every encrypted claim is in keys/, or its subject was erased. A claim whose key is missing is NULL. It comes
-- back at the next refresh after the key: put the copy of keys/ back from its backup.
-- table: stg_lake_days
-- severity: warn
-- finds: partitions with claims whose keys are missing: {lake_partition}
select lake_partition, missing_key_count
from stg_lake_days
where missing_key_count > 0
order by lake_partition
