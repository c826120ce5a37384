-- A session's first and last counts add up to its totals in fct_embeds, and every staged pair with a plausible time has its row.
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
    or coalesce(first_error_count, 0) <> coalesce(first_pairs_count, 0)
    or coalesce(last_error_count, 0) <> coalesce(last_pairs_count, 0)
