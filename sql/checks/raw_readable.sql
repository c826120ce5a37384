-- Every file of raw can be read whole. A damaged file is left out, with the events that only it holds, until it is mended or moved out of raw.
-- table: stg_lake_days
-- severity: warn
-- finds: files that are damaged: {path}
select path, reason
from source.damaged_raw_files
order by path
