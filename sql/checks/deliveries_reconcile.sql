-- Nothing is lost: the deliveries in raw's files are the events in the lake, the merged duplicates, or quarantined whole.
-- A day with a damaged raw file is left out: nobody knows how many deliveries that file holds.
-- table: stg_lake_days
-- severity: error
select
    lake_partition,
    raw.delivery_count as raw_count,
    days.event_count as event_count,
    merged_count,
    quarantined_count
from source.raw_deliveries as raw
full join stg_lake_days as days using (lake_partition)
where
    coalesce(raw.delivery_count, 0)
    <> coalesce(days.event_count, 0) + coalesce(merged_count, 0) + coalesce(quarantined_count, 0)
    and lake_partition not in (select lake_partition from source.damaged_raw_files)
