-- What became of sessions with an error, beside those without it: column x error code, of the sessions of the last 28 mature
-- days, for the same choices of environment, template and plan as in rpt_metrics (and by plan where it has them).
-- A session has the error where its count was above 0 when errors were first counted (first_error_count of
-- fct_embed_validation_errors), which is as a rule at columns_mapped. Compared are sessions that performed columns_mapped at or
-- after their entry, had not submitted before it, and whose first counts can be read. unknown_count are the others of
-- those that reached columns_mapped: so session_count + other_session_count + unknown_count is the numerator of reached in rpt_metrics.
-- Every session has had funnel_window to submit; one that has not may still do so.
-- odds_ratio is that of drivers(hold := ['template_key']): how the odds of submitting with the error compare with those without
-- it, within each template (Mantel-Haenszel; its interval by Robins, Breslow and Greenland). Below 1, fewer submit with it.
-- None of this says what caused the outcome.
-- refresh: view
with period as (
    select period_start, period_end, numerator = 0 as is_split
    from rpt_metrics_recent
    where period = 'last_28_days' and metric = 'sessions_not_by_plan'
        and is_all_environments and is_all_templates and is_all_plans
),

reached as (
    select
        embed_id, environment_name, template_key, plan,
        import_submitted_at is not null as is_submitted,
        coalesce(columns_mapped_at >= entry_at and coalesce(import_submitted_at >= columns_mapped_at, true), false)
        and first_error_count is not null as is_compared
    from fct_embeds
    inner join period on entry_date between period_start and period_end
    where columns_mapped_at is not null or import_submitted_at is not null
),

-- Without a pair: of all sessions.
cells as (
    select
        environment_name, template_key, plan, null::varchar as column_key, null::varchar as error_code,
        count(*) filter (is_compared) as n,
        count(*) filter (is_compared and is_submitted) as k,
        count(*) filter (not is_compared) as unknown_n
    from reached
    group by environment_name, template_key, plan
    union all
    select
        reached.environment_name, reached.template_key, reached.plan, column_key, error_code,
        count(*), count(*) filter (is_submitted), 0
    from fct_embed_validation_errors as errors
    inner join reached on reached.embed_id = errors.embed_id
    where errors.first_error_count > 0 and is_compared
    group by reached.environment_name, reached.template_key, reached.plan, column_key, error_code
),

-- A stratum is a template, so it stays where all templates are asked for.
strata as (
    select
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        column_key, error_code,
        sum(n)::double as n,
        sum(k)::double as k,
        sum(unknown_n) as unknown_n
    from cells
    group by template_key, column_key, error_code, cube (environment_name, plan)
),

-- Submitted and other sessions with the error (a, b), and without it (c, d).
tables as (
    select
        *,
        sum(n) filter (column_key is null) over of_stratum as stratum_n,
        sum(k) filter (column_key is null) over of_stratum as stratum_k,
        sum(unknown_n) over of_stratum as stratum_unknown_n,
        sum(n) filter (column_key is null) over of_all as all_n,
        sum(k) filter (column_key is null) over of_all as all_k,
        sum(unknown_n) over of_all as all_unknown_n,
        k as a,
        n - k as b,
        stratum_k - k as c,
        stratum_n - n - stratum_k + k as d
    from strata
    window
        of_all as (partition by is_all_environments, environment_name, is_all_plans, plan),
        of_stratum as (partition by is_all_environments, environment_name, is_all_plans, plan, template_key)
),

pooled as (
    select
        is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        is_all_plans, plan, column_key, error_code,
        sum(n)::bigint as session_count,
        sum(b)::bigint as unsubmitted_count,
        (case when is_all_templates then any_value(all_n) else any_value(stratum_n) end - sum(n))::bigint as other_session_count,
        (case when is_all_templates then any_value(all_k) else any_value(stratum_k) end - sum(k))::bigint as other_submitted_count,
        case when is_all_templates then any_value(all_unknown_n) else any_value(stratum_unknown_n) end::bigint as unknown_count,
        mantel_haenszel(a, b, c, d) as odds_ratio,
        mantel_haenszel_variance(a, b, c, d) as log_variance
    from tables
    where column_key is not null
    group by is_all_environments, environment_name, is_all_plans, plan, column_key, error_code, cube (template_key)
)

select
    is_all_environments, -- the row is of all environments together
    environment_name, -- else its environment; NULL where not known
    is_all_templates, -- the row is of all templates together
    template_key, -- else its template; NULL where not known
    is_all_plans, -- the row is of all plans together
    plan, -- else its plan; NULL where not known
    column_key, -- key of the template column
    error_code, -- validation error code
    session_count, -- sessions with the error: see above
    unsubmitted_count, -- of these, how many have no import_submitted
    unsubmitted_count / session_count as unsubmitted_rate, -- unsubmitted_count / session_count: the share that has not submitted
    wilson_low(unsubmitted_count, session_count) as unsubmitted_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(unsubmitted_count, session_count) as unsubmitted_rate_high, -- upper end of it
    other_session_count, -- sessions without the error
    other_session_count - other_submitted_count as other_unsubmitted_count, -- of these, how many have no import_submitted
    other_unsubmitted_count / nullif(other_session_count, 0) as other_unsubmitted_rate, -- other_unsubmitted_count / other_session_count; NULL where every session has the error
    wilson_low(other_unsubmitted_count, other_session_count) as other_unsubmitted_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(other_unsubmitted_count, other_session_count) as other_unsubmitted_rate_high, -- upper end of it
    unknown_count, -- sessions that reached columns_mapped and cannot be compared: see above
    odds_ratio, -- odds of submitting with the error over those without it, within templates; NULL where it would divide by 0
    odds_ratio_low(odds_ratio, log_variance) as odds_ratio_low, -- lower end of its 95 % interval; NULL where odds_ratio is 0 or NULL
    odds_ratio_high(odds_ratio, log_variance) as odds_ratio_high, -- upper end of it
    row_number() over (of_choice order by session_count desc, column_key, error_code) as pair_number, -- place among the pairs of the same choice, the one with the most sessions first
    count(*) over of_choice as pair_count, -- pairs of column and code that the choice has
from pooled
cross join period
where is_all_plans or is_split
window of_choice as (
    partition by is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan
)
