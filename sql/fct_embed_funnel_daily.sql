-- The funnel of each cohort, with one row per step.
-- Four counts of success, from the weakest to the strongest: reached (this step or a later one was seen), in order (step by
-- step, within funnel_window), submitted (reached_count of import_submitted), delivered (the API says that the import
-- arrived). The conversion to quote is submitted: conversion_rate of import_submitted, where is_mature.
-- A cohort is the sessions that began on one day, in one environment, with one template and one kind of trigger.
-- grain: entry_date, environment_name, template_key, entry_trigger_type, step_number
-- refresh: entry_date
-- time: data_through reaches fct_embeds.entry_at + funnel_window
-- time: data_through reaches fct_embed_funnel_daily.entry_date + interval 1 day + funnel_window
with parameters as (
    select data_through, funnel_window from source.parameters
),

steps as (
    select step_number, step from source.funnel_steps
),

embeds as (
    select fct_embeds.*, steps.step_number as furthest_step_number
    from fct_embeds
    inner join steps on steps.step = fct_embeds.furthest_step
    -- A session without a plausible time belongs to no cohort.
    where entry_date is not null
),

embed_steps as (
    select
        entry_date, environment_name, template_key, entry_trigger_type, step_number, step,
        furthest_step_number >= step_number as is_reached,
        list_contains(skipped_steps, step) as is_skipped,
        -- Step 1 is reached by sessions that did nothing, too.
        is_reached and not is_skipped and (step_number > 1 or is_entry_observed) as is_performed,
        in_order_step_count >= step_number as is_in_order,
        outcome = 'submitted' as is_submitted,
        delivery,
        outcome = 'open' and (data_through is null or entry_at + funnel_window > data_through) as can_still_reach,
        case step
            when 'embed_initialized' then case when is_entry_observed then 0.0 end
            when 'file_uploaded' then seconds_to_upload
            when 'header_selected' then seconds_to_header
            when 'columns_mapped' then seconds_to_mapping
            when 'import_submitted' then seconds_to_submit
        end as seconds_from_entry
    from embeds
    cross join steps
    cross join parameters
),

cohorts as (
    select
        entry_date, environment_name, template_key, entry_trigger_type, step_number, step,
        count(*) as entered_count,
        count(*) filter (is_reached) as reached_count,
        count(*) filter (is_performed) as performed_count,
        count(*) filter (is_skipped) as skipped_count,
        count(*) filter (is_in_order) as in_order_count,
        count(*) filter (not is_reached and can_still_reach) as open_count,
        count(*) filter (delivery = 'imported') as delivered_count,
        count(*) filter (is_submitted and delivery is not null) as delivery_known_count,
        count(*) filter (is_submitted and delivery = 'imported') as submitted_delivered_count,
        quantile_cont(seconds_from_entry, 0.5) as median_seconds_from_entry,
        quantile_cont(seconds_from_entry, 0.9) as p90_seconds_from_entry
    from embed_steps
    group by all
),

compared as (
    select
        *,
        lag(reached_count) over (
            partition by entry_date, environment_name, template_key, entry_trigger_type order by step_number
        ) as previous_reached_count
    from cohorts
)

select
    entry_date, -- UTC date on which the sessions began; not null
    environment_name, -- environment of the entry event
    template_key, -- template of the entry event
    entry_trigger_type, -- who began the sessions: user, api or automation
    step_number, -- the step's place in the funnel, from 1; not null
    step, -- the event type of the step; not null
    entered_count, -- sessions in the cohort; the same in each of its rows; not null
    reached_count, -- sessions that performed this step or skipped it; step 1 counts every session; not null
    performed_count, -- sessions in which this step's event was seen, in any order; not null
    skipped_count, -- sessions in which a later step's event was seen and this one's was not; not null
    in_order_count, -- sessions that did this step or a later one in order within funnel_window: with every required step before it, while optional ones may be skipped; not null
    open_count, -- sessions that have not reached the step, are open, and still have time left in funnel_window; not null
    reached_count / nullif(entered_count, 0) as conversion_rate, -- reached_count / entered_count
    wilson_low(reached_count, entered_count) as conversion_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(reached_count, entered_count) as conversion_rate_high, -- upper end of its 95 % Wilson interval
    previous_reached_count, -- reached_count of the previous step; NULL for step 1
    reached_count / nullif(previous_reached_count, 0) as step_conversion_rate, -- reached_count / previous_reached_count; NULL for step 1 and where that count is 0
    wilson_low(reached_count, previous_reached_count) as step_conversion_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(reached_count, previous_reached_count) as step_conversion_rate_high, -- upper end of its 95 % Wilson interval
    delivered_count, -- sessions whose import arrived (delivery = imported), with or without an import_submitted; the same in each of the cohort's rows; not null
    delivery_known_count, -- submitted sessions whose delivery is known: imported, pending or failed; the same in each row; not null
    submitted_delivered_count, -- those of them that are imported; the same in each row; not null
    submitted_delivered_count / nullif(delivery_known_count, 0) as delivery_rate, -- submitted_delivered_count / delivery_known_count; NULL where no delivery is known
    wilson_low(submitted_delivered_count, delivery_known_count) as delivery_rate_low, -- lower end of its 95 % Wilson interval
    wilson_high(submitted_delivered_count, delivery_known_count) as delivery_rate_high, -- upper end of its 95 % Wilson interval
    median_seconds_from_entry, -- median of the seconds from entry to the step's first event at or after it
    p90_seconds_from_entry, -- 90th percentile of the same seconds
    coalesce(entry_date + interval 1 day + funnel_window <= data_through, false) as is_mature, -- every session of the cohort has had funnel_window to convert; not null
from compared
cross join parameters
order by entry_date, environment_name, template_key, entry_trigger_type, step_number
