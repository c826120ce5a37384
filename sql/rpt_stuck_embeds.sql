-- Open sessions that stopped moving: the last event is not embed_closed, and the session has been idle for longer than
-- 90 % of its template's sessions took from arriving at that step to the next one.
-- The threshold comes from sessions that began in the 90 days before data_through, and is at least 15 minutes. With
-- fewer than 20 such sessions it comes from all templates together; with fewer than 20 there too, it is an hour.
-- Whether such a session still submits is told by similar ones. A session is similar if it began in those 90 days, and was
-- once idle at the same step, without an embed_closed, for at least as long as this one is now. It counts once, whether it
-- then went on, closed or stayed silent. Its outcome is known if it is not open, and its entry date is mature (see
-- fct_embed_funnel_daily): of younger ones, those that submit are known before those that do not. The template's own
-- sessions tell if at least 20 of them are similar and their outcome is known, else those of all templates together.
-- grain: embed_id
-- refresh: whole
with parameters as (
    -- Who has been idle for longer than helpable_for has most likely left: a tab that is shut sends no event.
    select data_through, data_through - interval 90 days as recent_from, funnel_window, interval 2 hours as helpable_for
    from source.parameters
),

steps as (
    select step_number, step from source.funnel_steps
),

-- Seconds from a session's entry to each step, in the order of the steps. A step only counts once the session has begun;
-- see fct_embeds.
recent as (
    select
        template_key,
        [0.0, seconds_to_upload, seconds_to_header, seconds_to_mapping, seconds_to_submit] as arrivals
    from fct_embeds
    cross join parameters
    where entry_at >= recent_from
),

-- From each step of a session to the next later step that it reached. As a rule the later steps come later: only where one
-- does not are they looked at one by one, which takes several times as long.
moves as (
    select
        template_key, step,
        arrivals[step_number] as arrived_after,
        arrivals[step_number + 1:] as later_arrivals,
        list_min(later_arrivals) as first_after,
        case
            when first_after >= arrived_after then first_after
            else list_min(list_filter(later_arrivals, lambda seconds: seconds >= arrived_after))
        end as left_after
    from recent
    cross join steps
    where arrived_after is not null
),

-- In whole microseconds, as the seconds were made of them.
durations as (
    select template_key, step, ((left_after * 1e6)::bigint - (arrived_after * 1e6)::bigint) / 1e6 as seconds
    from moves
    where left_after is not null
),

template_thresholds as (
    select template_key, step, quantile_cont(seconds, 0.9) as p90_seconds
    from durations
    group by template_key, step
    having count(*) >= 20
),

overall_thresholds as (
    select step, quantile_cont(seconds, 0.9) as p90_seconds
    from durations
    group by step
    having count(*) >= 20
),

open_embeds as (
    select
        embeds.*,
        date_diff('microsecond', last_event_at, data_through) / 1e6 as idle_seconds,
        last_event_at >= data_through - helpable_for as can_still_be_helped,
        coalesce(entry_at >= recent_from, false) as is_recent,
        steps.step_number >= (select step_number from steps where step = 'file_uploaded') as is_uploaded,
        greatest(
            coalesce(template_thresholds.p90_seconds, overall_thresholds.p90_seconds, 3600.0), 900.0
        ) as threshold_seconds
    from fct_embeds as embeds
    cross join parameters
    inner join steps on steps.step = embeds.furthest_step
    left join template_thresholds
        on template_thresholds.template_key is not distinct from embeds.template_key
        and template_thresholds.step = embeds.furthest_step
    left join overall_thresholds on overall_thresholds.step = embeds.furthest_step
    where embeds.outcome = 'open' and embeds.last_event_type <> 'embed_closed'
),

stuck_embeds as (
    select * from open_embeds where idle_seconds > threshold_seconds
),

idle_times as (
    select embed_id, step, longest_pause_seconds as seconds from fct_embed_pauses
    union all
    -- A silent session has been idle for longer than an open one can be.
    select embed_id, furthest_step, 'infinity'::double from fct_embeds where outcome = 'silent'
    union all
    select embed_id, furthest_step, idle_seconds from open_embeds
),

-- The longest time for which each recent session was idle at each step.
idle_embeds as (
    select
        template_key, step, max(seconds) as seconds,
        any_value(outcome <> 'open' and entry_date + interval 1 day + funnel_window <= data_through) as is_known,
        any_value(outcome = 'submitted') as is_submitted
    from idle_times
    inner join fct_embeds using (embed_id)
    cross join parameters
    where entry_at >= recent_from
    group by embed_id, template_key, step
),

idle_counts as (
    select
        template_key, step, seconds,
        count(*) filter (is_known) as known_count,
        count(*) filter (is_known and is_submitted) as submitted_count,
        count(*) filter (not is_known) as immature_count
    from idle_embeds
    group by template_key, step, seconds
),

-- Each stuck session among those that were idle at its step, from the longest on: it counts those before it, and any of
-- exactly its own time.
compared as (
    select
        embed_id,
        sum(known_count) over same_template as template_known_count,
        sum(submitted_count) over same_template as template_submitted_count,
        sum(immature_count) over same_template as template_immature_count,
        sum(known_count) over same_step as step_known_count,
        sum(submitted_count) over same_step as step_submitted_count,
        sum(immature_count) over same_step as step_immature_count
    from (
        select null as embed_id, * from idle_counts
        union all
        select embed_id, template_key, furthest_step, idle_seconds, 0, 0, 0 from stuck_embeds
    )
    window
        same_template as (
            partition by template_key, step order by seconds desc
            range between unbounded preceding and current row
        ),
        same_step as (partition by step order by seconds desc range between unbounded preceding and current row)
),

chances as (
    select
        embed_id,
        template_known_count >= 20 as is_same_template,
        if(is_same_template, template_known_count, step_known_count)::bigint as similar_count,
        if(is_same_template, template_submitted_count, step_submitted_count)::bigint as similar_submitted_count,
        -- The session itself is among those of unknown outcome, if it is recent.
        if(is_same_template, template_immature_count, step_immature_count)::bigint
        - is_recent::integer as similar_immature_count
    from compared
    inner join stuck_embeds using (embed_id)
),

worst_errors as (
    select embed_id, column_key, error_code, fct_embed_validation_errors.last_error_count
    from fct_embed_validation_errors
    -- Joined to fct_embeds, DuckDB sees that few sessions are open. Joined to open_embeds, it would read every error.
    inner join (select embed_id from fct_embeds where outcome = 'open') using (embed_id)
    where fct_embed_validation_errors.last_error_count > 0
    qualify row_number() over (
        partition by embed_id order by fct_embed_validation_errors.last_error_count desc, column_key, error_code
    ) = 1
)

select
    stuck_embeds.embed_id, -- the embed session; not null
    row_number() over (
        order by
            is_uploaded desc, coalesce(stuck_embeds.last_error_count, 0) desc, floor(idle_seconds / 60) desc, stuck_embeds.embed_id
    ) as priority, -- whom to help first, from 1: sessions that got to the upload before others; then those with more errors left (last_error_count, 0 where not known); then those idle for more minutes; not null
    can_still_be_helped, -- idle for at most 2 hours, so someone may still be there; false: most likely they have left, and are reached by another way; not null
    environment_name, -- environment of the entry event
    template_key, -- template of the entry event
    user_id, -- the user_id claim of the latest event that has claims
    customer_id, -- the customer's id, else name, after the claims policy (see fct_embeds)
    customer_name, -- the customer's name, after the claims policy (see fct_embeds)
    plan, -- the customer's plan, after the claims policy (see fct_embeds)
    furthest_step as step, -- the furthest step that the session reached; not null
    entry_at, -- when the session began (UTC)
    last_event_at, -- its last event (UTC)
    last_event_type, -- type of the last event
    idle_seconds, -- from the last event to data_through; not null
    threshold_seconds, -- idle for longer than this counts as stuck; not null
    stuck_embeds.last_error_count, -- validation errors when they were last counted, as a rule at columns_mapped; operations after that may have repaired some
    worst_errors.column_key as worst_column_key, -- the column with the most errors then
    worst_errors.error_code as worst_error_code, -- the code of those errors
    worst_errors.last_error_count as worst_error_count, -- cells with that error
    similar_count, -- similar sessions whose outcome is known; not null
    similar_submitted_count, -- those of them with an import_submitted: they still finished; not null
    similar_submitted_count / nullif(similar_count, 0) as similar_submitted_rate, -- similar_submitted_count / similar_count: the chance that such a session still finishes
    wilson_low(similar_submitted_count, similar_count) as similar_submitted_rate_low, -- lower end of its 95 % interval
    wilson_high(similar_submitted_count, similar_count) as similar_submitted_rate_high, -- upper end of its 95 % interval
    similar_immature_count, -- similar sessions besides this one whose outcome is not known yet, which are left out; not null
    is_same_template, -- the similar sessions are of this session's template; false: of all templates, since fewer than 20 are; not null
from stuck_embeds
inner join chances using (embed_id)
left join worst_errors using (embed_id)
order by priority
