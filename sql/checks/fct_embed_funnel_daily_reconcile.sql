-- The funnel counts every session once: reached_count and skipped_count agree with fct_embeds, day by day and step by step.
-- table: fct_embed_funnel_daily
-- severity: error
-- scope: entry_date
with sessions as (
    select entry_date, furthest_step, count(*) as session_count from fct_embeds where entry_date is not null group by entry_date, furthest_step
),

steps as (
    select step_number, step from source.funnel_steps
),

expected as (
    select
        entry_date, reached.step_number,
        sum(session_count) filter (furthest.step_number >= reached.step_number)::bigint as expected_count
    from sessions
    inner join steps as furthest on furthest.step = furthest_step
    cross join steps as reached
    group by entry_date, reached.step_number
),

skipped as (
    select entry_date, step_number, count(*) as expected_skipped_count
    from (select entry_date, unnest(skipped_steps) as step from fct_embeds where entry_date is not null)
    inner join steps using (step)
    group by entry_date, step_number
),

counted as (
    select
        entry_date, step_number,
        sum(reached_count)::bigint as reached_count,
        sum(skipped_count)::bigint as skipped_count
    from fct_embed_funnel_daily
    group by entry_date, step_number
)

select entry_date, step_number, expected_count, reached_count, expected_skipped_count, skipped_count
from expected
full join counted using (entry_date, step_number)
left join skipped using (entry_date, step_number)
where coalesce(expected_count, 0) is distinct from coalesce(reached_count, 0)
    or coalesce(expected_skipped_count, 0) is distinct from coalesce(skipped_count, 0)
