-- Sessions of the last 30 mature days by the step they reached
-- kind: funnel
-- unit: sessions
with days as (
    select max(entry_date) filter (is_mature) as last_mature_date from fct_embed_funnel_daily
)

select
    step,
    coalesce(sum(reached_count) filter (is_shown), 0)::bigint as reached_count,
    coalesce(sum(in_order_count) filter (is_shown), 0)::bigint as in_order_count,
    wilson_low(sum(reached_count) filter (is_shown), sum(entered_count) filter (is_shown)) as rate_low,
    wilson_high(sum(reached_count) filter (is_shown), sum(entered_count) filter (is_shown)) as rate_high,
    coalesce(sum(entered_count) filter (not is_mature), 0)::bigint as immature_count
from (select *, is_mature and entry_date > last_mature_date - 30 as is_shown from fct_embed_funnel_daily cross join days)
group by step_number, step
order by step_number
