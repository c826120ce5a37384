-- The latest reconcile found no event at the source that is missing here.
-- table: meta_coverage
-- severity: warn
-- finds: dates with events at the source that are not held here: {lake_partition}
select lake_partition, reconciled_at, held_at_source_count, unheld_count
from meta_coverage
where unheld_count > 0
