-- The counts of fct_metrics_daily, added up by week. rpt_metrics says what each metric means, and is the one to ask.
-- Durations are not here, since medians do not add up. Rows by plan are here where every day of the week has them.
-- grain: entry_week, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, metric, step_number
-- refresh: entry_week
with days as (
    select * from fct_metrics_daily
),

split_weeks as (
    select entry_week, sum(numerator) = 0 as is_split
    from days
    where metric = 'sessions_not_by_plan' and is_all_environments and is_all_templates and is_all_plans
    group by entry_week
)

select
    entry_week, -- Monday of the week in which the sessions began (UTC); not null
    is_all_environments, -- the row is of all environments together; not null
    environment_name, -- else its environment; NULL where not known
    is_all_templates, -- the row is of all templates together; not null
    template_key, -- else its template; NULL where not known
    is_all_plans, -- the row is of all plans together; not null
    plan, -- else its plan; NULL where not known
    metric, -- which number; not null
    step_number, -- the step's place in the funnel, from 1; NULL where the metric has no step
    step, -- the event type of the step
    sum(numerator)::bigint as numerator, -- what is counted; not null
    sum(denominator)::bigint as denominator, -- out of how many; NULL where the metric is a count alone
    sum(open_count)::bigint as open_count, -- sessions that may still change it; not null
from days
inner join split_weeks using (entry_week)
where numerator is not null and (is_all_plans or is_split)
group by
    entry_week, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, metric,
    step_number, step
order by
    entry_week, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, metric, step_number
