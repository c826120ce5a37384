-- A session's first and last counts add up to its totals in fct_embeds, where these are known.
-- Every staged pair with a plausible time has its row.
-- table: fct_embed_validation_errors
-- severity: error
-- scope: embed_id
with staged as (
    select embed_id, count(distinct (column_key, error_code)) as staged_pair_count
    from stg_validation_errors
    cross join source.parameters
    where occurred_at between plausible_from and plausible_until
    group by embed_id
),

counted as (
    select
        embed_id,
        count(*) as pair_count,
        least(sum(first_error_count), 9223372036854775807)::bigint as first_pairs_count,
        least(sum(last_error_count), 9223372036854775807)::bigint as last_pairs_count
    from fct_embed_validation_errors
    group by embed_id
)

select
    embed_id, staged_pair_count, pair_count,
    first_error_count, first_pairs_count, last_error_count, last_pairs_count
from fct_embeds
left join staged using (embed_id)
full join counted using (embed_id)
where
    coalesce(staged_pair_count, 0) <> coalesce(pair_count, 0)
    -- Of a report that cannot be read whole, single pairs may be known and the total is not.
    or first_error_count <> coalesce(first_pairs_count, 0)
    or last_error_count <> coalesce(last_pairs_count, 0)
