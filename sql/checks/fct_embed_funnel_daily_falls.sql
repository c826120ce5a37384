-- A cohort's counts start at all of its sessions and never rise from step to step, every step has a row, a session that
-- reached a step performed or skipped it, and what was delivered is the same in each row.
-- table: fct_embed_funnel_daily
-- severity: error
-- scope: entry_date
with ordered as (
    select
        *,
        lag(reached_count) over cohort as previous_reached_count,
        lag(in_order_count) over cohort as previous_in_order_count,
        min(delivered_count) over (
            partition by entry_date, environment_name, template_key, entry_trigger_type
        ) as least_delivered_count,
        count(*) over (partition by entry_date, environment_name, template_key, entry_trigger_type) as row_count
    from fct_embed_funnel_daily
    window cohort as (
        partition by entry_date, environment_name, template_key, entry_trigger_type order by step_number
    )
)

select
    entry_date, environment_name, template_key, entry_trigger_type, step_number,
    entered_count, reached_count, performed_count, skipped_count, in_order_count, open_count
from ordered
where
    reached_count > coalesce(previous_reached_count, entered_count)
    or in_order_count > coalesce(previous_in_order_count, entered_count)
    or in_order_count > reached_count
    or (step_number > 1 and performed_count + skipped_count <> reached_count)
    -- A session that did nothing reached step 1 as well.
    or performed_count + skipped_count > reached_count
    or reached_count + open_count > entered_count
    or (step_number = 1 and reached_count <> entered_count)
    or delivered_count <> least_delivered_count
    or delivered_count > entered_count
    or submitted_delivered_count > least(delivered_count, delivery_known_count)
    or row_count <> (select count(*) from source.funnel_steps)
