-- Every event has a plausible time: from 2020 on, and at most a day after data_through.
-- table: stg_embed_events
-- severity: warn
-- finds: events without a plausible time, in the sessions {embed_id}
select event_uuid, embed_id, event_type, occurred_at
from stg_embed_events
cross join source.parameters
where not occurred_at between plausible_from and plausible_until
