-- The counts behind rpt_metrics, of the sessions that began on each day: one row per metric, step and choice of environment,
-- template and plan. rpt_metrics says what each metric means, and is the one to ask.
-- A day has rows by plan where at most 20 plans are seen on it, since a claim with more values is not a plan;
-- sessions_not_by_plan says how many sessions began on other days.
-- grain: entry_date, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, metric, step_number
-- refresh: entry_date
-- time: data_through reaches fct_embeds.entry_at + funnel_window
with parameters as (
    select data_through, funnel_window, plan_claim is not null as has_plan from source.parameters
),

steps as (
    select step_number, step, step_number = max(step_number) over () as is_last from source.funnel_steps
),

embeds as (
    select
        entry_date, environment_name, template_key, plan,
        steps.step_number as furthest_step_number,
        skipped_steps, is_entry_observed, in_order_step_count, delivery,
        outcome = 'open' and (data_through is null or entry_at + funnel_window > data_through) as can_still_reach,
        file_uploaded_at is not null as is_uploaded,
        case
            when import_submitted_at >= file_uploaded_at
                then date_diff('microsecond', file_uploaded_at, import_submitted_at) / 1e6
        end as seconds_to_submit
    from fct_embeds
    inner join steps on steps.step = fct_embeds.furthest_step
    cross join parameters
    where entry_date is not null
),

split_days as (
    select entry_date, bool_or(has_plan) and count(distinct plan) <= 20 as is_split
    from embeds
    cross join parameters
    group by entry_date
),

-- Sessions that went alike are counted together before all else, since there are few ways to go.
ways as (
    select
        entry_date, environment_name, template_key, plan, furthest_step_number, skipped_steps, is_entry_observed,
        in_order_step_count, delivery, can_still_reach, is_uploaded,
        count(*) as session_count
    from embeds
    group by all
),

step_slices as (
    select
        entry_date,
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        step_number, step, is_last,
        sum(session_count) as entered_count,
        coalesce(sum(session_count) filter (furthest_step_number >= step_number), 0) as reached_count,
        coalesce(sum(session_count) filter (list_contains(skipped_steps, step)), 0) as skipped_count,
        -- Step 1 is reached by sessions that did nothing, too.
        coalesce(
            sum(session_count) filter (
                furthest_step_number >= step_number and not list_contains(skipped_steps, step)
                and (step_number > 1 or is_entry_observed)
            ), 0
        ) as performed_count,
        coalesce(sum(session_count) filter (in_order_step_count >= step_number), 0) as in_order_count,
        coalesce(
            sum(session_count) filter (furthest_step_number = step_number and not can_still_reach), 0
        ) as dropped_count,
        coalesce(sum(session_count) filter (furthest_step_number < step_number and can_still_reach), 0) as open_count,
        coalesce(sum(session_count) filter (furthest_step_number = step_number and can_still_reach), 0) as staying_count
    from ways
    cross join steps
    group by entry_date, step_number, step, is_last, cube (environment_name, template_key, plan)
),

slices as (
    select
        entry_date,
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        sum(session_count) as session_count,
        coalesce(sum(session_count) filter (is_submitted), 0) as submitted_count,
        coalesce(sum(session_count) filter (is_submitted and delivery is not null), 0) as known_count,
        coalesce(sum(session_count) filter (is_submitted and delivery = 'imported'), 0) as delivered_count,
        coalesce(sum(session_count) filter (is_submitted and delivery is null), 0) as not_said_count,
        coalesce(sum(session_count) filter (can_still_reach), 0) as open_count,
        coalesce(sum(session_count) filter (not is_split), 0) as not_by_plan_count
    from (select ways.*, is_last as is_submitted from ways inner join steps on step_number = furthest_step_number)
    inner join split_days using (entry_date)
    group by entry_date, cube (environment_name, template_key, plan)
),

durations as (
    select
        entry_date,
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        list_sort(coalesce(list(seconds_to_submit) filter (seconds_to_submit is not null), [])) as seconds,
        count(*) filter (is_uploaded and can_still_reach) as open_count
    from embeds
    group by entry_date, cube (environment_name, template_key, plan)
),

counted as (
    select
        entry_date, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        step_number, step,
        unnest(
            [
                {'metric': 'reached', 'numerator': reached_count, 'denominator': entered_count, 'open_count': open_count},
                {
                    'metric': 'performed',
                    'numerator': performed_count,
                    'denominator': entered_count,
                    'open_count': open_count
                },
                {'metric': 'skipped', 'numerator': skipped_count, 'denominator': entered_count, 'open_count': open_count},
                {'metric': 'in_order', 'numerator': in_order_count, 'denominator': entered_count, 'open_count': open_count},
                {
                    'metric': 'dropped',
                    'numerator': if(is_last, null, dropped_count),
                    'denominator': reached_count,
                    'open_count': staying_count
                }
            ],
            recursive := true
        ),
        null::double as seconds, null::double as seconds_low, null::double as seconds_high
    from step_slices
    union all
    select
        entry_date, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        null, null,
        unnest(
            [
                {'metric': 'sessions', 'numerator': session_count, 'denominator': null, 'open_count': open_count},
                {
                    'metric': 'submitted',
                    'numerator': submitted_count,
                    'denominator': session_count,
                    'open_count': open_count
                },
                {
                    'metric': 'delivered',
                    'numerator': delivered_count,
                    'denominator': known_count,
                    'open_count': not_said_count
                },
                {
                    'metric': 'sessions_not_by_plan',
                    'numerator': not_by_plan_count,
                    'denominator': null,
                    'open_count': open_count
                }
            ],
            recursive := true
        ),
        null, null, null
    from slices
    union all
    select
        entry_date, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        null, null,
        unnest(['seconds_to_submit_median', 'seconds_to_submit_p90']),
        null, len(seconds), open_count,
        unnest([quantile_of(seconds, 0.5), quantile_of(seconds, 0.9)]),
        unnest([quantile_low(seconds, 0.5), quantile_low(seconds, 0.9)]),
        unnest([quantile_high(seconds, 0.5), quantile_high(seconds, 0.9)])
    from durations
)

select
    entry_date, -- UTC date on which the sessions began; not null
    date_trunc('week', entry_date)::date as entry_week, -- Monday of its week; not null
    date_trunc('month', entry_date)::date as entry_month, -- first day of its month; not null
    is_all_environments, -- the row is of all environments together; not null
    environment_name, -- else its environment; NULL where not known
    is_all_templates, -- the row is of all templates together; not null
    template_key, -- else its template; NULL where not known
    is_all_plans, -- the row is of all plans together; not null
    plan, -- else its plan; NULL where not known
    metric, -- which number; not null
    step_number, -- the step's place in the funnel, from 1; NULL where the metric has no step
    step, -- the event type of the step
    numerator::bigint as numerator, -- what is counted; NULL for a duration
    denominator::bigint as denominator, -- out of how many; NULL where the metric is a count alone
    open_count::bigint as open_count, -- sessions that may still change it; not null
    seconds, -- a duration; NULL for counts
    seconds_low, -- lower end of its 95 % interval
    seconds_high, -- upper end of its 95 % interval
from counted
inner join split_days using (entry_date)
where (is_all_plans or is_split) and (numerator is not null or metric <> 'dropped')
order by
    entry_date, is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, metric, step_number
