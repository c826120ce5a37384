-- Everything in the lake is staged: events, validation errors and quarantined events are as many as flattening counted,
-- less the quarantined ones whose row has expired.
-- table: stg_lake_days
-- severity: error
-- scope: lake_partition
with events as (
    select lake_partition, count(*) as staged_count from stg_embed_events group by lake_partition
),

errors as (
    select lake_partition, count(*) as staged_error_count from stg_validation_errors group by lake_partition
),

quarantined as (
    select lake_partition, count(*) as staged_quarantined_count
    from meta_quarantine
    where level = 'event'
    group by lake_partition
)

select
    lake_partition,
    event_count, staged_count,
    validation_error_count, staged_error_count,
    quarantined_count, expired_quarantined_count, staged_quarantined_count
from stg_lake_days
full join events using (lake_partition)
full join errors using (lake_partition)
full join quarantined using (lake_partition)
where
    coalesce(event_count, 0) <> coalesce(staged_count, 0)
    or coalesce(validation_error_count, 0) <> coalesce(staged_error_count, 0)
    or coalesce(quarantined_count - expired_quarantined_count, 0) <> coalesce(staged_quarantined_count, 0)
