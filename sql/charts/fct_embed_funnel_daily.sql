-- Sessions of the last 28 mature days by the step they reached
-- kind: funnel
-- unit: sessions
with together as (
    from rpt_metrics where is_all_environments and is_all_templates and is_all_plans and is_all_customers
),

steps as (
    select distinct step_number, step from together where step is not null
),

recent as (
    select step, metric, numerator, low, high from together where period = 'last_28_days'
),

young as (
    select coalesce(max(numerator), 0)::bigint as immature_count from together where period = 'since' and metric = 'sessions'
)

select
    step,
    coalesce(max(numerator) filter (metric = 'reached'), 0)::bigint as reached_count,
    coalesce(max(numerator) filter (metric = 'in_order'), 0)::bigint as in_order_count,
    max(low) filter (metric = 'reached') as rate_low,
    max(high) filter (metric = 'reached') as rate_high,
    max(immature_count) as immature_count
from steps
left join recent using (step)
cross join young
group by step_number, step
order by step_number
