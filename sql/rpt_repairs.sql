-- Errors and what people did: error code x operation, of the sessions of the last 28 mature days in which both happened, and
-- how many of these submitted; for the same choices of environment, template and plan as in rpt_metrics (and by plan where it has them).
-- The error: some column had the code with a count above 0 when errors were first or last counted
-- (fct_embed_validation_errors). The operation: a sheet_operation_performed by the user (trigger_type), before or after that.
-- So a session is in several rows. Those with the error and no operation by the user are the rows without has_operation, to compare with.
-- It says what happened together. That the operation repaired this error, or that it made the session submit, it does not say.
-- refresh: view
with period as (
    select period_start, period_end, numerator = 0 as is_split
    from rpt_metrics_recent
    where period = 'last_28_days' and metric = 'sessions_not_by_plan'
        and is_all_environments and is_all_templates and is_all_plans
),

faults as (
    select distinct
        errors.embed_id, error_code,
        embeds.environment_name, embeds.template_key, embeds.plan,
        import_submitted_at is not null as is_submitted
    from fct_embed_validation_errors as errors
    inner join fct_embeds as embeds on embeds.embed_id = errors.embed_id
    inner join period on entry_date between period_start and period_end
    where errors.first_error_count > 0 or errors.last_error_count > 0
),

operations as (
    select distinct events.embed_id, operation
    from stg_embed_events as events
    inner join fct_embeds as embeds on embeds.embed_id = events.embed_id
    inner join period on entry_date between period_start and period_end
    cross join (select plausible_from, plausible_until from meta_build)
    where event_type = 'sheet_operation_performed' and trigger_type = 'user'
        and occurred_at between plausible_from and plausible_until
),

-- Sessions that went alike are counted together before all else.
ways as (
    select
        environment_name, template_key, plan, error_code, operations.embed_id is not null as has_operation, operation,
        count(*) as n,
        count(*) filter (is_submitted) as k
    from faults
    left join operations on operations.embed_id = faults.embed_id
    group by environment_name, template_key, plan, error_code, has_operation, operation
),

slices as (
    select
        grouping(environment_name) = 1 as is_all_environments, environment_name,
        grouping(template_key) = 1 as is_all_templates, template_key,
        grouping(plan) = 1 as is_all_plans, plan,
        error_code, has_operation, operation,
        sum(n)::bigint as session_count,
        sum(k)::bigint as submitted_count
    from ways
    group by error_code, has_operation, operation, cube (environment_name, template_key, plan)
)

select
    is_all_environments, -- the row is of all environments together
    environment_name, -- else its environment; NULL where not known
    is_all_templates, -- the row is of all templates together
    template_key, -- else its template; NULL where not known
    is_all_plans, -- the row is of all plans together
    plan, -- else its plan; NULL where not known
    error_code, -- validation error code, of any column
    has_operation, -- the user performed this operation; else none at all
    operation, -- the operation; NULL where the event does not say, and where there is none
    session_count, -- sessions with the error and the operation
    submitted_count, -- of these, how many have an import_submitted
    submitted_count / session_count as submitted_rate, -- submitted_count / session_count: the share that submitted
    wilson_low(submitted_count, session_count) as submitted_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(submitted_count, session_count) as submitted_rate_high, -- upper end of it
    row_number() over (of_choice order by session_count desc, error_code, has_operation, operation) as pair_number, -- place among the pairs of the same choice, the one with the most sessions first
    count(*) over of_choice as pair_count, -- pairs of code and operation that the choice has
from slices
cross join period
where is_all_plans or is_split
window of_choice as (
    partition by is_all_environments, environment_name, is_all_templates, template_key, is_all_plans, plan
)
