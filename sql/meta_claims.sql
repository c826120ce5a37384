-- One claim path seen in the JWT payloads, with a column of its own or not.
-- grain: path
-- refresh: whole
with claims as (
    select * from source.claims
)

select
    path, -- dotted path in the JWT payload
    column_name, -- its claim column in stg_embed_events and fct_embeds; NULL when it has none
    is_column, -- it has a column of its own
    json_types, -- JSON types seen, comma-separated
    event_count, -- events whose claims have it
    coverage, -- event_count over all events
    first_seen_at, -- first event that has it (UTC)
    last_seen_at, -- last event that has it (UTC)
from claims
order by path
