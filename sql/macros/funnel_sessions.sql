-- The sessions behind each number of funnel(): one row per unit (session or user) that is counted in it.
--
--   step            a row of the funnel, by its step or its step_number; by default the last row
--   state           reached: the units of reached_count; performed, skipped, dropped, open: those of performed_count,
--                   skipped_count, dropped_count and open_count
--   all others      as in funnel(): asked alike, there are as many rows as funnel() counts, in each breakdown and period
--
-- embed_id is the unit's first session; where unit := 'user', embed_ids has all of its sessions that were asked for. Join
-- fct_embeds or rpt_embed_timeline to see more of them. Under include_immature := true, those with is_mature are behind
-- mature_reached_count.
-- An argument that cannot be meant is an error, as in funnel().
create or replace macro funnel_sessions(
    step := null,
    state := 'reached',
    /* funnel_parameters */
) as table
with recursive

/* breakdown */,

/* bad_dates */,

/* funnel_arguments */,

asked as (
    select step_number, label
    from funnel_steps
    where case
        when step is null then step_number = (select max(step_number) from funnel_steps)
        else label = step::varchar or step_number::varchar = step::varchar
    end
),

problems as (
    select case
        when problem is not null then problem
        when state is null or state not in ('reached', 'performed', 'skipped', 'dropped', 'open')
            then 'state is reached, performed, skipped, dropped or open, not ' || coalesce(state::varchar, 'NULL')
        when (select count(*) from asked) = 0
            then 'the funnel has no step ' || step::varchar || '. Did you mean '
                || (select arg_max(label, jaro_winkler_similarity(label, step::varchar)) from funnel_steps) || '?'
        when (select count(*) from asked) > 1
            then 'the funnel has the step ' || step::varchar || ' more than once. Give its step_number instead: one of '
                || (select string_agg(step_number::varchar, ', ' order by step_number) from asked)
    end as problem
    from argument_problems
),

/* funnel_units */,

/* funnel_chains */,

/* funnel_windows */,

/* funnel_states */,

found as (
    select
        unit_id, breakdown, period, is_mature, reached, times[1] as start_us,
        case when not is_delivery then times[step_number] end as step_us
    from fates
    inner join states using (reached, may_go_on, is_delivered, is_awaited)
    inner join asked using (step_number)
    where case state
        when 'open' then is_open and not is_excluded
        when 'dropped' then is_dropped and is_counted
        when 'reached' then is_reached and is_counted
        when 'performed' then is_reached and is_counted and (is_delivery or step_us is not null)
        when 'skipped' then is_reached and is_counted and not is_delivery and step_us is null
    end
),

sessions_of_units as (
    select
        unit_id,
        list(embed_id order by entry_at, embed_id) as embed_ids,
        min(entry_at) as entry_at,
        any_value(user_id) as user_id
    from members
    semi join found using (unit_id)
    inner join (select embed_id, entry_at, user_id from fct_embeds) using (embed_id)
    group by unit_id
),

session_rows as (
    select
        breakdown, period, embed_ids[1] as embed_id, embed_ids, user_id, entry_at, is_mature, reached, start_us, step_us
    from found
    inner join sessions_of_units using (unit_id)
    -- A part of its own, so that it raises whether or not there are rows.
    union all
    select error('funnel_sessions: ' || problem), null, null, null, null, null, null, null, null, null
    from problems
    where problem is not null
)

select
    breakdown, period, embed_id, embed_ids, user_id, entry_at, is_mature,
    reached as reached_step_number,
    make_timestamp(start_us) as started_at,
    make_timestamp(step_us) as performed_at,
    (step_us - start_us) / 1000000 as seconds_from_entry
from session_rows
order by breakdown nulls first, period nulls first, embed_id
