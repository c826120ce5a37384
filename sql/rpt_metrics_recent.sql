-- The counts behind rpt_metrics that move with data_through: of the last 28 mature days, of the 28 before, of the days since,
-- which are too young to be compared, and of now. rpt_metrics says what each metric means, and is the one to ask.
-- A day is mature when all its sessions have had funnel_window to convert. Rows by plan are here where every day of the period
-- has them.
-- grain: period, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, is_all_customers, customer_id, metric, step_number
-- refresh: whole
with parameters as (
    select
        data_through, plausible_until, plan_claim is not null as has_plan,
        (data_through - funnel_window - interval 1 day)::date as last_mature_date
    from source.parameters
),

periods as (
    select
        unnest(['last_28_days', 'previous_28_days', 'since']) as period,
        unnest([last_mature_date - 27, last_mature_date - 55, last_mature_date + 1]) as period_start,
        unnest([last_mature_date, last_mature_date - 28, plausible_until::date]) as period_end
    from parameters
),

-- Where nothing is mature yet because no sweep has completed, all days are too young.
days as (
    select period, period_start, period_end, fct_metrics_daily.*
    from fct_metrics_daily
    cross join parameters
    inner join periods on
        entry_date between period_start and period_end or (last_mature_date is null and period = 'since')
    where data_through is null or entry_date >= last_mature_date - 55
),

split_periods as (
    select period, sum(numerator) = 0 as is_split
    from days
    where metric = 'sessions_not_by_plan' and is_all_environments and is_all_templates and is_all_plans
    group by period
),

embeds as (
    select
        period, period_start, period_end, environment_name, template_key, plan, customer_id, outcome, delivery,
        file_uploaded_at is not null as is_uploaded,
        case
            when import_submitted_at >= file_uploaded_at
                then date_diff('microsecond', file_uploaded_at, import_submitted_at) / 1e6
        end as seconds_to_submit
    from fct_embeds
    inner join periods on entry_date between period_start and period_end
    where period <> 'since'
),

durations as (
    select
        period, period_start, period_end,
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        list_sort(coalesce(list(seconds_to_submit) filter (seconds_to_submit is not null), [])) as seconds
    from embeds
    group by period, period_start, period_end, cube (environment_name, template_key, plan)
),

customers as (
    select
        period, period_start, period_end, grouping(template_key) = 1 as is_all_templates, template_key, customer_id,
        count(*) as session_count,
        count(*) filter (outcome = 'submitted') as submitted_count,
        count(*) filter (outcome = 'submitted' and delivery is not null) as known_count,
        count(*) filter (outcome = 'submitted' and delivery = 'imported') as delivered_count
    from embeds
    where customer_id is not null
    group by period, period_start, period_end, customer_id, cube (template_key)
),

waiting as (
    select environment_name, template_key, plan, 'open' as metric from fct_embeds where outcome = 'open'
    union all
    select environment_name, template_key, plan, 'stuck' from rpt_stuck_embeds
    union all
    select environment_name, template_key, plan, 'stuck_helpable' from rpt_stuck_embeds where can_still_be_helped
),

-- The row of everything is always there, and says 0.
waiting_slices as (
    select
        metric,
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        count(*) as numerator
    from waiting
    group by metric, cube (environment_name, template_key, plan)
    union all
    select metric, true, null, true, null, true, null, 0
    from (select unnest(['open', 'stuck', 'stuck_helpable']) as metric)
    anti join waiting using (metric)
),

coverage as (
    select
        coalesce(sum(event_count), 0) as held_count,
        coalesce(sum(quarantined_count), 0) as quarantined_count,
        sum(held_purged_count) as purged_count,
        sum(unheld_count) as unheld_count,
        count(*) filter (reconciled_at is null) as unreconciled_count
    from meta_coverage
),

broken_sweeps as (
    select count(*) filter (not is_complete and (data_through is null or started_at > data_through)) as broken_count
    from meta_sweeps
    cross join parameters
    where started_at <= (select built_at from source.build)
),

completeness as (
    select
        count(*) filter (verdict = 'complete') as complete_count,
        count(*) filter (verdict = 'complete as far as the source can say') as unproven_count,
        count(*) filter (verdict = 'incomplete') as incomplete_count
    from meta_completeness
),

quality as (
    select
        unnest(
            [
                {'metric': 'held_events', 'numerator': held_count},
                {'metric': 'quarantined_events', 'numerator': quarantined_count},
                {'metric': 'purged_events', 'numerator': purged_count},
                {'metric': 'unheld_events', 'numerator': unheld_count},
                {'metric': 'unreconciled_days', 'numerator': unreconciled_count},
                {'metric': 'broken_sweeps', 'numerator': broken_count},
                {'metric': 'complete_days', 'numerator': complete_count},
                {'metric': 'unproven_days', 'numerator': unproven_count},
                {'metric': 'incomplete_days', 'numerator': incomplete_count}
            ],
            recursive := true
        )
    from coverage
    cross join broken_sweeps
    cross join completeness
),

counted as (
    select
        period, period_start, period_end,
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        true as is_all_customers, null as customer_id, metric, step_number, step,
        sum(numerator) as numerator, sum(denominator) as denominator, sum(open_count) as open_count,
        null::double as seconds, null::double as seconds_low, null::double as seconds_high
    from days
    inner join split_periods using (period)
    where numerator is not null and (is_all_plans or is_split)
    group by all
    union all
    select
        period, period_start, period_end,
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        true, null, unnest(['seconds_to_submit_median', 'seconds_to_submit_p90']), null, null,
        null, len(seconds), 0,
        unnest([quantile_of(seconds, 0.5), quantile_of(seconds, 0.9)]),
        unnest([quantile_low(seconds, 0.5), quantile_low(seconds, 0.9)]),
        unnest([quantile_high(seconds, 0.5), quantile_high(seconds, 0.9)])
    from durations
    inner join split_periods using (period)
    where is_all_plans or is_split
    union all
    select
        period, period_start, period_end, true, null, is_all_templates, template_key, true, null, false, customer_id,
        unnest(['sessions', 'submitted', 'delivered']), null, null,
        unnest([session_count, submitted_count, delivered_count]),
        unnest([null, session_count, known_count]),
        unnest([0, 0, submitted_count - known_count]),
        null, null, null
    from customers
    union all
    select
        'now', null, null, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        true, null, metric, null, null, numerator, null, null, null, null, null
    from waiting_slices
    cross join parameters
    where is_all_plans or has_plan
    union all
    select
        'now', null, null, true, null, true, null, true, null, true, null, metric, null, null, numerator, null,
        null, null, null, null
    from quality
)

select
    period, -- last_28_days, previous_28_days, since or now; not null
    period_start::date as period_start, -- its first day (UTC); NULL for now
    period_end::date as period_end, -- its last day (UTC); NULL for now
    is_all_environments, -- the row is of all environments together; not null
    environment_name, -- else its environment; NULL where not known
    is_all_templates, -- the row is of all templates together; not null
    template_key, -- else its template; NULL where not known
    is_all_plans, -- the row is of all plans together; not null
    plan, -- else its plan; NULL where not known
    is_all_customers, -- the row is of all customers together, of sessions whose customer is not known as well; not null
    customer_id, -- else its customer
    metric, -- which number; not null
    step_number, -- the step's place in the funnel, from 1; NULL where the metric has no step
    step, -- the event type of the step
    numerator::bigint as numerator, -- what is counted; NULL for a duration, and where it is not known
    denominator::bigint as denominator, -- out of how many; NULL where the metric is a count alone
    open_count::bigint as open_count, -- sessions that may still change it; NULL for now
    seconds, -- a duration; NULL for counts
    seconds_low, -- lower end of its 95 % interval
    seconds_high, -- upper end of its 95 % interval
from counted
order by
    period, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, is_all_customers,
    customer_id, metric, step_number
