-- How long it takes from the entry until a step is reached, and how many reach it at all: step x time, of the sessions of the
-- last 28 mature days, for the same choices of environment, template and plan as in rpt_metrics (and by plan where it has them).
-- As in time_to(), a step is reached at the first event of it or of a later step, at or after the entry; sessions whose
-- beginning was not seen (no embed_initialized), and those that reached the step only before it, are in left_out_count.
-- Each of these sessions was followed for funnel_window, so none is censored before, and reached_rate is the incidence of time_to() at
-- that time: those who left are among the sessions that it is out of. The times are set, up to funnel_window, which is the last one.
-- p50_seconds to p90_seconds are of the sessions that reached the step within funnel_window alone (timed_count), and the
-- same in each row of a step. They do not say how many reached it: see reached_rate.
-- refresh: view
with period as (
    select period_start, period_end, numerator = 0 as is_split
    from rpt_metrics_recent
    where period = 'last_28_days' and metric = 'sessions_not_by_plan'
        and is_all_environments and is_all_templates and is_all_plans
),

steps as (
    select step_number, step
    from rpt_metrics_recent
    where period = 'last_28_days' and metric = 'reached' and step_number > 1
        and is_all_environments and is_all_templates and is_all_plans
),

times as (
    select distinct least(seconds, funnel_window_seconds) as within_seconds
    from (select unnest([10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 86400, 259200, 1e9]) as seconds)
    cross join meta_build
),

embeds as (
    select
        environment_name, template_key, plan, is_entry_observed,
        -- From step 2 on.
        [file_uploaded_at, header_selected_at, columns_mapped_at, import_submitted_at] as step_times,
        [seconds_to_upload, seconds_to_header, seconds_to_mapping, seconds_to_submit] as step_seconds
    from fct_embeds
    inner join period on entry_date between period_start and period_end
),

arrivals as (
    select
        environment_name, template_key, plan, step_number,
        list_min(step_seconds[step_number - 1:]) as arrived_after,
        is_entry_observed
        and (arrived_after is not null or list_min(step_times[step_number - 1:]) is null) as is_counted
    from embeds
    cross join steps
),

-- By the first of the times until which the session had reached the step.
ways as (
    select
        environment_name, template_key, plan, step_number, within_seconds,
        count(*) filter (is_counted) as n,
        count(*) filter (not is_counted) as left_out_n
    from arrivals
    asof left join times on within_seconds >= arrived_after
    group by environment_name, template_key, plan, step_number, within_seconds
),

slices as (
    select
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        step_number, within_seconds,
        sum(n) as n,
        sum(left_out_n) as left_out_n
    from ways
    group by step_number, within_seconds, cube (environment_name, template_key, plan)
),

curves as (
    select
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, step_number,
        times.within_seconds,
        coalesce(sum(n) filter (slices.within_seconds <= times.within_seconds), 0)::bigint as reached_count,
        sum(n)::bigint as entered_count,
        sum(left_out_n)::bigint as left_out_count
    from slices
    cross join times
    group by all
),

durations as (
    select
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        step_number,
        list_sort(list(arrived_after)) as seconds
    from arrivals
    cross join meta_build
    where is_counted and arrived_after <= funnel_window_seconds
    group by step_number, cube (environment_name, template_key, plan)
),

-- Before the curves are joined, so that each is made once.
quantiles as (
    select
        * exclude (seconds),
        len(seconds) as timed_count,
        quantile_of(seconds, 0.5) as p50_seconds,
        quantile_low(seconds, 0.5) as p50_seconds_low,
        quantile_high(seconds, 0.5) as p50_seconds_high,
        quantile_of(seconds, 0.75) as p75_seconds,
        quantile_low(seconds, 0.75) as p75_seconds_low,
        quantile_high(seconds, 0.75) as p75_seconds_high,
        quantile_of(seconds, 0.9) as p90_seconds,
        quantile_low(seconds, 0.9) as p90_seconds_low,
        quantile_high(seconds, 0.9) as p90_seconds_high
    from durations
)

select
    curves.is_all_environments, -- the row is of all environments together
    curves.environment_name, -- else its environment; NULL where not known
    curves.is_all_templates, -- the row is of all templates together
    curves.template_key, -- else its template; NULL where not known
    curves.is_all_plans, -- the row is of all plans together
    curves.plan, -- else its plan; NULL where not known
    curves.step_number, -- the step's place in the funnel, from 2: every session begins with step 1
    step, -- the event type of the step
    within_seconds, -- time since the entry
    reached_count, -- sessions that had reached the step by then
    entered_count, -- sessions that were followed
    reached_count / nullif(entered_count, 0) as reached_rate, -- reached_count / entered_count: the incidence
    wilson_low(reached_count, entered_count) as reached_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(reached_count, entered_count) as reached_rate_high, -- upper end of it
    left_out_count, -- sessions that are left out: see above
    coalesce(timed_count, 0) as timed_count, -- sessions that reached the step within funnel_window
    p50_seconds, -- the time within which half of these reached it
    p50_seconds_low, -- lower end of its 95 % interval; NULL where too few are there to say
    p50_seconds_high, -- upper end of it
    p75_seconds, -- the time within which three quarters of these reached it
    p75_seconds_low, -- lower end of its 95 % interval; NULL where too few are there to say
    p75_seconds_high, -- upper end of it
    p90_seconds, -- the time within which nine in ten of these reached it
    p90_seconds_low, -- lower end of its 95 % interval; NULL where too few are there to say
    p90_seconds_high, -- upper end of it
from curves
inner join steps using (step_number)
cross join period
left join quantiles on
    quantiles.is_all_environments = curves.is_all_environments
    and quantiles.environment_name is not distinct from curves.environment_name
    and quantiles.is_all_templates = curves.is_all_templates
    and quantiles.template_key is not distinct from curves.template_key
    and quantiles.is_all_plans = curves.is_all_plans
    and quantiles.plan is not distinct from curves.plan
    and quantiles.step_number = curves.step_number
where curves.is_all_plans or is_split
