-- One partition of the lake, and what its flattening did: deliveries in raw = events + merged duplicates + quarantined.
-- grain: lake_partition
-- refresh: lake_partition
with days as (
    select * from source.days
)

select
    event_date as lake_partition, -- the partition: a date or unknown
    delivery_count, -- deliveries in raw
    event_count, -- events in the lake
    merged_count, -- deliveries merged into another one of the same uuid
    quarantined_count, -- deliveries quarantined whole
    field_quarantined_count, -- unreadable fields of events that have a row
    conflict_count, -- events with deliveries that disagreed in a field, NULL aside
    validation_error_count, -- rows of validation errors
    unlisted_claim_count, -- claim paths that the date does not list for meta_claims: it has more than the bound
    first_landed_at, -- first landing of a delivery (UTC)
    last_landed_at, -- last landing of a delivery (UTC)
from days
