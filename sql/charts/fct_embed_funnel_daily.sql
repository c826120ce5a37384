-- Sessions of the last 28 mature days by the step they reached
-- kind: funnel
-- unit: sessions
with together as (
    from rpt_metrics where is_all_environments and is_all_plans and is_all_customers
),

-- All templates together, then the five with the most sessions. A single template is all of them.
panels as (
    select
        is_all_templates, template_key,
        coalesce(max(numerator) filter (period = 'since'), 0) as immature_count,
        row_number() over (
            order by
                is_all_templates desc, coalesce(max(numerator) filter (period = 'last_28_days'), 0) desc,
                coalesce(max(numerator) filter (period = 'since'), 0) desc, template_key
        ) as panel_number
    from together
    where metric = 'sessions' and period in ('last_28_days', 'since')
    group by is_all_templates, template_key
    qualify panel_number <= 6 and (is_all_templates or count(*) over () > 2)
),

steps as (
    select distinct step_number, step from together where step is not null
),

recent as (
    from together where period = 'last_28_days'
)

select
    panels.panel_number::int as panel_number,
    if(any_value(panels.is_all_templates), 'all templates', any_value(panels.template_key)) as panel,
    steps.step,
    coalesce(max(recent.numerator) filter (recent.metric = 'reached'), 0)::bigint as reached_count,
    coalesce(max(recent.numerator) filter (recent.metric = 'in_order'), 0)::bigint as in_order_count,
    max(recent.low) filter (recent.metric = 'reached') as rate_low,
    max(recent.high) filter (recent.metric = 'reached') as rate_high,
    max(panels.immature_count)::bigint as immature_count
from panels
cross join steps
left join recent
    on recent.is_all_templates = panels.is_all_templates
    and recent.template_key is not distinct from panels.template_key
    and recent.step = steps.step
group by panels.panel_number, steps.step_number, steps.step
order by panels.panel_number, steps.step_number
