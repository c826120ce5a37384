-- One partition of the lake, usually an event date: what is held, and what the latest reconcile found at the source.
-- grain: lake_partition
-- refresh: whole
with days as (
    select * from stg_lake_days
),

latest_reconcile as (
    select started_at, coverage
    from meta_sweeps
    where kind = 'reconcile' and is_complete and coverage is not null
        and started_at <= (select built_at from source.build)
    qualify row_number() over (order by started_at desc, sweep_id desc) = 1
),

at_source as (
    select
        started_at as reconciled_at,
        item ->> '$.event_date' as lake_partition,
        (item ->> '$.held_at_source_count')::bigint as held_at_source_count,
        (item ->> '$.held_purged_count')::bigint as held_purged_count,
        (item ->> '$.unheld_count')::bigint as unheld_count,
        (item ->> '$.new_at_source_count')::bigint as new_at_source_count
    from (select started_at, unnest(json_extract(coverage, '$[*]')) as item from latest_reconcile)
)

select
    lake_partition, -- the partition: a date or unknown; not null
    try_cast(lake_partition as date) as event_date, -- the same as a date; NULL for unknown
    coalesce(delivery_count, 0) as delivery_count, -- deliveries in raw; not null
    coalesce(event_count, 0) as event_count, -- events staged; not null
    coalesce(merged_count, 0) as merged_count, -- deliveries merged into another delivery of the same uuid
    coalesce(quarantined_count, 0) as quarantined_count, -- deliveries quarantined whole
    coalesce(conflict_count, 0) as conflict_count, -- events whose deliveries disagreed
    first_landed_at, -- first landing of a delivery (UTC)
    last_landed_at, -- last landing of a delivery (UTC)
    reconciled_at, -- start of the reconcile that compared this day with the source; NULL when none has (UTC)
    held_at_source_count, -- events held here that the source still has
    held_purged_count, -- events held here that the source has purged
    unheld_count, -- events at the source that are not held here, although their session was fetched after they happened
    new_at_source_count, -- events at the source that this reconcile was the first to fetch; it landed them
from days
full join at_source using (lake_partition)
order by lake_partition
