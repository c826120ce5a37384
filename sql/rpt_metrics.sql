-- Every number that is shown outside SQL, each with what it is out of and its 95 % interval: what a page, a message or a
-- chart says is a row here. Nothing needs to be added up: a row is of one environment, template or plan, or of all of
-- them together, in each combination. is_all_environments, is_all_templates and is_all_plans tell "all" from a name, whatever the
-- name is, and from NULL, which is not known. Rows of a customer exist for the two periods of 28 days, by template.
-- Periods: day, week (from Monday) and month, by the day on which the sessions began (UTC); last_28_days are the last 28 mature days,
-- previous_28_days the 28 before them, since the days after them; now is the state at data_through. Compare where is_mature.
-- Metrics of sessions, defined as in fct_embeds and fct_embed_funnel_daily:
-- sessions: how many began. sessions_not_by_plan: how many of them began on days without rows by plan; where there are any, the
-- period has no such rows. A day has them unless more than 20 plans are seen on it, or EMBED_ANALYTICS_PLAN_CLAIM is not set.
-- submitted: with an import_submitted, of all sessions. This is the conversion to quote.
-- delivered: submitted sessions whose import arrived, of the submitted ones whose delivery the API's list has said.
-- reached, performed, skipped, in_order (each with a step): sessions that did so, of all sessions.
-- dropped (with a step, but not the last): sessions that got no further, of those that reached it; open_count of them may still move.
-- seconds_to_submit_median, seconds_to_submit_p90: from the first file_uploaded to the first import_submitted, where that
-- came later; out of so many sessions with both. There for days and 28 days, since medians do not add up. The interval asks nothing of the distribution.
-- Metrics of days of events, for day alone and not by plan: events; error_cells (latest_error_count of fct_validation_errors_daily);
-- operations, and of these operations_by_hand (trigger user).
-- Metrics of now: open (sessions); stuck and stuck_helpable (rpt_stuck_embeds; those who can still be helped); held_events,
-- quarantined_events, purged_events (held here, gone at the source when last reconciled), unheld_events (there, and not here), unreconciled_days
-- (partitions of the lake that no reconcile has compared); complete_days, incomplete_days and unproven_days (complete as far as the
-- source can say), which are rows of meta_completeness by verdict; broken_sweeps (begun since data_through, and not complete);
-- failed_embeds (in the sweep that set data_through). The last two tell how far to believe the rest.
-- refresh: view
with build as (
    select
        build_id, data_through, to_microseconds((funnel_window_seconds * 1e6)::bigint) as funnel_window,
        failed_embed_count
    from meta_build
),

counted as (
    select
        metric, step_number, step, 'day' as period, entry_date as period_start, entry_date as period_end,
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        true as is_all_customers, null as customer_id,
        numerator, denominator, open_count, seconds, seconds_low, seconds_high
    from fct_metrics_daily
    union all
    select
        metric, step_number, step, 'week', entry_week, entry_week + 6,
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, true, null,
        numerator, denominator, open_count, null, null, null
    from fct_metrics_weekly
    union all
    select
        metric, step_number, step, 'month', entry_month, last_day(entry_month),
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan, true, null,
        numerator, denominator, open_count, null, null, null
    from fct_metrics_monthly
    union all
    select
        metric, null, null, 'day', event_date, event_date,
        is_all_environments, environment_name, is_all_templates, template_key, true, null, true, null,
        numerator, null, null, null, null, null
    from fct_activity_daily
    union all
    select
        metric, step_number, step, period, period_start, period_end,
        is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan,
        is_all_customers, customer_id, numerator, denominator, open_count, seconds, seconds_low, seconds_high
    from rpt_metrics_recent
    union all
    select
        'failed_embeds', null, null, 'now', null, null, true, null, true, null, true, null, true, null,
        failed_embed_count, null, null, null, null, null
    from build
)

select
    metric, -- which number: see above
    step_number, -- the step's place in the funnel, from 1; NULL where the metric has no step
    step, -- the event type of the step
    period, -- day, week, month, last_28_days, previous_28_days, since or now
    period_start, -- first day of the period (UTC); NULL for now
    period_end, -- last day of the period (UTC); NULL for now
    is_all_environments, -- the row is of all environments together
    environment_name, -- else its environment; NULL where not known
    is_all_templates, -- the row is of all templates together
    template_key, -- else its template; NULL where not known
    is_all_plans, -- the row is of all plans together
    plan, -- else its plan; NULL where not known
    is_all_customers, -- the row is of all customers together
    customer_id, -- else its customer, after the claims policy (see fct_embeds)
    coalesce(seconds, case when denominator is null then numerator else numerator / nullif(denominator, 0) end) as value, -- the number: a count, numerator / denominator, or seconds; NULL where it is not known, and where the denominator is 0
    numerator, -- what was counted; NULL for a duration
    denominator, -- out of how many; NULL where the metric is a count alone
    coalesce(seconds_low, wilson_low(numerator, denominator)) as low, -- lower end of the value's 95 % interval (Wilson's for a rate); NULL for a count, and where too few are there to say
    coalesce(seconds_high, wilson_high(numerator, denominator)) as high, -- upper end of it
    case when open_count is not null then coalesce(period_end + interval 1 day + funnel_window <= data_through, false) end as is_mature, -- every session of the period has had funnel_window to convert; NULL where the metric is not one of sessions
    open_count, -- sessions that may still change the number: open and within funnel_window, for delivered those of which the list has not said; NULL where the metric is not one of sessions
    build_id, -- the build that says so
from counted
cross join build
