-- One partition of the lake, and what its flattening did: deliveries in raw = events + merged duplicates + quarantined.
-- grain: lake_partition
-- refresh: lake_partition
with days as (
    select * from source.days
)

select
    event_date as lake_partition, -- the partition: a date or unknown; not null
    delivery_count, -- deliveries in raw; not null
    event_count, -- events in the lake; not null
    merged_count, -- deliveries merged into another delivery of the same uuid; not null
    quarantined_count, -- deliveries quarantined whole; not null
    field_quarantined_count, -- unreadable fields of events that have a row
    coalesce(expired_quarantined_count, 0) as expired_quarantined_count, -- of quarantined_count: those whose row a setting removed from meta_quarantine; not null
    coalesce(expired_field_quarantined_count, 0) as expired_field_quarantined_count, -- of field_quarantined_count: likewise; not null
    conflict_count, -- events whose deliveries disagreed in a field, leaving NULLs aside
    validation_error_count, -- rows of validation errors
    unlisted_claim_count, -- claim paths beyond the bound of what a date lists for meta_claims
    encrypted_count, -- events of whose claims raw has any encrypted
    missing_key_count, -- those of them with a claim that is NULL because its key is missing; what was erased has none
    first_landed_at, -- first landing of a delivery (UTC)
    last_landed_at, -- last landing of a delivery (UTC)
from days
