-- By default, the contributions of segments add up to the difference that explain_change() tells, to 1e-9, and so do those
-- of steps. Where a period has no sessions there is no difference, and nothing contributes to it.
-- table: fct_embeds
-- severity: error
with answered as materialized (
    select split, contribution from explain_change()
),

splits as (
    select
        split,
        sum(answered.contribution) as added_up,
        count(answered.contribution) as part_count,
        count(*) filter (answered.contribution is null) as unknown_count
    from (select unnest(['segments', 'steps']) as split)
    left join answered using (split)
    group by split
)

select splits.split, totals.contribution as difference, splits.added_up, splits.part_count
from splits
-- Without a row of its own the total is NULL, and whatever contributes to it is too much.
left join answered as totals on totals.split = 'total'
where case
    when totals.contribution is null then splits.part_count > 0
    else splits.unknown_count > 0 or not coalesce(abs(splits.added_up - totals.contribution) <= 1e-9, false)
end
