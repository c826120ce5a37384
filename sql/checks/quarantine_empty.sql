-- Nothing is in quarantine: every delivery and every field of it could be read.
-- table: meta_quarantine
-- severity: warn
-- finds: fields that could not be read: {field}
select level, field, reason, count(*) as row_count, max(lake_partition) as last_lake_partition
from meta_quarantine
group by level, field, reason
