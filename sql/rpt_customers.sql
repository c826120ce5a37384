-- One customer x template: how many sessions, how many of them convert, now and before, and what is open or stuck.
-- A customer is a customer_id of fct_embeds, in whatever environment. Sessions whose customer is not known share a row without one per template.
-- A conversion rate is submitted sessions / sessions, over those that began on the last 14 or 28 mature days, or on as many
-- days before. A day is mature when all its sessions have had funnel_window to convert. Rates whose intervals (_low to
-- _high, 95 % Wilson) overlap much may well be the same.
-- grain: customer_id, template_key
-- refresh: whole
with parameters as (
    select
        (data_through - funnel_window - interval 1 day)::date as last_mature_date,
        coalesce(last_mature_date - 55, date '-infinity') as first_compared_date
    from source.parameters
),

totals as (
    select
        customer_id, template_key,
        count(*) as session_count,
        count(*) filter (outcome = 'submitted') as submitted_count,
        count(*) filter (delivery = 'imported') as delivered_count,
        count(*) filter (outcome = 'open') as open_count,
        max(last_event_at) as last_seen_at
    from fct_embeds
    group by customer_id, template_key
),

names as (
    select
        customer_id, template_key,
        last(customer_name order by last_event_at nulls first, embed_id)
            filter (customer_name is not null) as customer_name,
        last(plan order by last_event_at nulls first, embed_id) filter (plan is not null) as plan
    from fct_embeds
    where customer_name is not null or plan is not null
    group by customer_id, template_key
),

-- Only these sessions are counted by their age, so older ones are not read for it.
recent as (
    select
        customer_id, template_key,
        outcome = 'submitted' as is_submitted,
        last_mature_date - entry_date as days_before
    from fct_embeds
    cross join parameters
    where entry_date >= first_compared_date
),

compared as (
    select
        customer_id, template_key,
        count(*) filter (coalesce(days_before < 0, true)) as immature_count,
        count(*) filter (days_before between 0 and 13) as entered_count_14d,
        count(*) filter (days_before between 0 and 13 and is_submitted) as submitted_count_14d,
        count(*) filter (days_before between 14 and 27) as entered_count_previous_14d,
        count(*) filter (days_before between 14 and 27 and is_submitted) as submitted_count_previous_14d,
        count(*) filter (days_before between 0 and 27) as entered_count_28d,
        count(*) filter (days_before between 0 and 27 and is_submitted) as submitted_count_28d,
        count(*) filter (days_before between 28 and 55) as entered_count_previous_28d,
        count(*) filter (days_before between 28 and 55 and is_submitted) as submitted_count_previous_28d
    from recent
    group by customer_id, template_key
),

stuck as (
    select customer_id, template_key, count(*) as stuck_count
    from rpt_stuck_embeds
    group by customer_id, template_key
),

customers as (
    select
        totals.*, customer_name, plan,
        coalesce(stuck_count, 0) as stuck_count,
        coalesce(immature_count, 0) as immature_count,
        coalesce(entered_count_14d, 0) as entered_count_14d,
        coalesce(submitted_count_14d, 0) as submitted_count_14d,
        coalesce(entered_count_previous_14d, 0) as entered_count_previous_14d,
        coalesce(submitted_count_previous_14d, 0) as submitted_count_previous_14d,
        coalesce(entered_count_28d, 0) as entered_count_28d,
        coalesce(submitted_count_28d, 0) as submitted_count_28d,
        coalesce(entered_count_previous_28d, 0) as entered_count_previous_28d,
        coalesce(submitted_count_previous_28d, 0) as submitted_count_previous_28d
    from totals
    left join names
        on names.customer_id is not distinct from totals.customer_id
        and names.template_key is not distinct from totals.template_key
    left join compared
        on compared.customer_id is not distinct from totals.customer_id
        and compared.template_key is not distinct from totals.template_key
    left join stuck
        on stuck.customer_id is not distinct from totals.customer_id
        and stuck.template_key is not distinct from totals.template_key
)

select
    customer_id, -- the customer's id, else name, after the claims policy (see fct_embeds); NULL where not known
    customer_name, -- the name in the latest session that has one
    plan, -- the plan in the latest session that has one
    template_key, -- template of the sessions
    session_count, -- sessions, with or without a plausible time; not null
    submitted_count, -- sessions with an import_submitted; not null
    delivered_count, -- sessions whose import arrived (delivery = imported), with or without an import_submitted; not null
    open_count, -- sessions whose outcome is open; not null
    stuck_count, -- sessions in rpt_stuck_embeds; not null
    immature_count, -- sessions that are too young for the rates: they began after the last mature day; not null
    last_seen_at, -- their last event (UTC)
    entered_count_14d, -- sessions that began on the last 14 mature days; not null
    submitted_count_14d, -- those of them with an import_submitted; not null
    submitted_count_14d / nullif(entered_count_14d, 0) as conversion_rate_14d, -- submitted_count_14d / entered_count_14d
    wilson_low(submitted_count_14d, entered_count_14d) as conversion_rate_14d_low, -- lower end of its 95 % interval
    wilson_high(submitted_count_14d, entered_count_14d) as conversion_rate_14d_high, -- upper end of its 95 % interval
    entered_count_previous_14d, -- sessions that began on the 14 days before those; not null
    submitted_count_previous_14d, -- those of them with an import_submitted; not null
    submitted_count_previous_14d / nullif(entered_count_previous_14d, 0) as conversion_rate_previous_14d, -- submitted_count_previous_14d / entered_count_previous_14d
    wilson_low(submitted_count_previous_14d, entered_count_previous_14d) as conversion_rate_previous_14d_low, -- lower end of its 95 % interval
    wilson_high(submitted_count_previous_14d, entered_count_previous_14d) as conversion_rate_previous_14d_high, -- upper end of its 95 % interval
    entered_count_28d, -- sessions that began on the last 28 mature days; not null
    submitted_count_28d, -- those of them with an import_submitted; not null
    submitted_count_28d / nullif(entered_count_28d, 0) as conversion_rate_28d, -- submitted_count_28d / entered_count_28d
    wilson_low(submitted_count_28d, entered_count_28d) as conversion_rate_28d_low, -- lower end of its 95 % interval
    wilson_high(submitted_count_28d, entered_count_28d) as conversion_rate_28d_high, -- upper end of its 95 % interval
    entered_count_previous_28d, -- sessions that began on the 28 days before those; not null
    submitted_count_previous_28d, -- those of them with an import_submitted; not null
    submitted_count_previous_28d / nullif(entered_count_previous_28d, 0) as conversion_rate_previous_28d, -- submitted_count_previous_28d / entered_count_previous_28d
    wilson_low(submitted_count_previous_28d, entered_count_previous_28d) as conversion_rate_previous_28d_low, -- lower end of its 95 % interval
    wilson_high(submitted_count_previous_28d, entered_count_previous_28d) as conversion_rate_previous_28d_high, -- upper end of its 95 % interval
from customers
order by customer_id, template_key
