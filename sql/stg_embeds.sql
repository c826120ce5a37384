-- One embed as the API's list last showed it, with or without events.
-- grain: embed_id
-- refresh: merge
with observations as (
    select embeds.* replace (coalesce(statuses.status, embeds.status) as status)
    from source.embeds as embeds
    left join source.embed_statuses as statuses on statuses.spelling = embeds.status
),

-- Observations that tie in every sort key are equal in every column that is kept.
ranked as (
    select
        *,
        row_number() over (
            partition by embed_id
            order by
                fetched_at desc nulls last, sweep_id desc nulls last, status desc nulls last,
                imported_row_count desc nulls last, template_key desc nulls last, environment_name desc nulls last
        ) as recency
    from observations
    where embed_id is not null
)

select
    embed_id, -- the embed session; not null
    template_key, -- template of the embed
    environment_name, -- environment that was configured for the sweep
    status, -- the session's status, in the API's words; import-pending, as the vendor spells it too, is import_pending
    imported_row_count, -- rows imported; only when the status is imported
    fetched_at, -- when the API gave this answer, which its later lists repeat (UTC)
    sweep_id, -- the sweep that saw it
from ranked
where recency = 1
