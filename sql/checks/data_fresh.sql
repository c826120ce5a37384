-- The data reaches to within three hours of the build: an hourly refresh may miss a tick.
-- table: meta_build
-- severity: warn
select build_id, built_at, data_through
from source.build
cross join source.parameters
where data_through is null or built_at - data_through > interval 3 hours
