-- Sessions of the last 30 days by the step they reached
-- kind: funnel
-- unit: sessions
select step, sum(reached_count)::bigint as reached_count, sum(in_order_count)::bigint as in_order_count
from fct_embed_funnel_daily
where entry_date > (select max(entry_date) from fct_embed_funnel_daily) - 30
group by step_number, step
order by step_number
