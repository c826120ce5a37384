-- The data reaches nearly to the build: at most two refreshes of EMBED_ANALYTICS_REFRESH_CRON and an hour lie between.
-- table: meta_build
-- severity: warn
-- finds: the data ends at {data_through}
select build_id, built_at, data_through, late_after
from source.build
cross join source.parameters
where data_through is null or built_at - data_through > late_after
