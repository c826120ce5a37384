-- One claim path seen in the JWT payloads, with or without a column of its own. Claim names may be ids, so the list is
-- bounded. An event date lists the 128 paths with a scalar that it saw first, 128 others, and those with a column. This
-- table has the paths with a column, then those seen first, up to 2,000. stg_embed_events.claims keeps every claim.
-- grain: path
-- refresh: whole
with claims as (
    select * from source.claims
),

days as (
    select sum(event_count)::bigint as all_event_count from stg_lake_days
)

select
    path, -- dotted path in the JWT payload; not null
    column_name, -- its claim column in stg_embed_events and fct_embeds; NULL when it has none
    is_column, -- it has a column of its own; not null
    json_types, -- JSON types seen, comma-separated
    event_count, -- events whose claims have it; NULL where unlisted_date_count is not 0
    all_event_count, -- all staged events; the same in every row
    coverage, -- event_count / all_event_count; of all events and not of a sample, so without an interval
    first_seen_at, -- first event that has it, but none before 2020, which is not plausible (UTC); NULL where all are
    last_seen_at, -- last event that has it (UTC)
    unlisted_date_count, -- event dates that have more paths than they list and do not list this one
    unlisted_path_count, -- at least this many paths of the home are not in this table; the same in every row
from claims
cross join days
order by path
