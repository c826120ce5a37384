-- Any funnel over the events: how many sessions or users reached each step, and how fast. funnel_sessions() names them.
--
--   steps           event types, or event_type:operation; the vendor's five by default. A step asks nothing else of its
--                   event: claims and columns belong to by
--   by              a column of fct_embeds or a claim path (meta_claims) to break the numbers down by; nothing by default
--   window_seconds  time from the start to the last step, inclusive; the setting funnel_window by default
--   mode            ordered: a chain starts at any event of the first step, and each next step is the nearest later event;
--                   strict: the same with no other event of the unit in between;
--                   any: row k counts the units with k of the steps, in any order, within one window; no step is optional
--   unit            embed, or user: the events of all sessions with one user_id claim together
--   from_date, to_date  entry dates of the sessions, both inclusive
--   optional        steps that a chain may skip when it performs a later one, except the first step of all; by default
--                   those whose panes the vendor skips; [] lets none be skipped
--   exclude         event types, or event_type:operation. A unit that has such an event after the start of its chain and
--                   before its end is out, and counted in excluded_count alone. At the very time of the start or the end it
--                   is not in between. The chain is chosen as if nothing were excluded; longer chains have more in between
--   by_period       day, week (from Monday) or month of the unit's entry, as its first day in period; NULL: all in one
--   conversion      submitted: the last step is the end; delivered: one more row, delivered, has the units that reached it
--                   and whose import arrived (delivery = imported in one of their sessions), as far as the API's list has said
--   include_immature  false leaves out units that are not mature, except in immature_count and open_count
--
-- One event fills one step. Events are ordered by occurred_at, event_id, event_uuid. Of a unit's chains the one counts that
-- gets furthest; of those the one that performs the most steps, then starts first, then ends first. A unit reaches every
-- step up to the furthest of its chain. Seconds are those of the chain, in the units that performed the step.
-- An argument that cannot be meant is an error, which suggests what may be. So is the funnel() of an attached warehouse
-- that is not the one in use: DuckDB would answer from the tables of the one in use.
--
-- A unit is mature when its first session's day and then the longer of funnel_window and window_seconds were over at
-- data_through: with the default window, as in fct_embed_funnel_daily. Its entry is that session's, too. Sessions without a
-- plausible time belong to no period.
--
--   reached_count     units that reached the step: performed_count performed it, skipped_count skipped it
--   dropped_count     units that reached the step before and not this one, and are not open
--   open_count        units, mature or not, that have not reached the step and still may: a session of theirs is open and
--                     younger than the longer window; or they wait for the list to say what became of their import
--   entered_count     reached_count of the first step; previous_reached_count that of the step before
--   mature_count, immature_count  units that reached the first step, by whether they are mature; excluded ones are in neither
--   rate              mature_reached_count / mature_count, whatever include_immature says: the rate to compare
--   conversion_rate   reached_count / entered_count
--   step_conversion_rate  reached_count / previous_reached_count
--
-- Each rate has its 95 % Wilson interval (_low, _high). In the row delivered, who waits for the list has not arrived yet.
create or replace macro funnel(
    /* funnel_parameters */
) as table
with recursive

/* breakdown */,

/* bad_dates */,

/* funnel_arguments */,

/* funnel_units */,

/* funnel_chains */,

/* funnel_windows */,

/* funnel_states */,

counts as (
    select
        breakdown, period, step_number, label,
        count(*) filter (is_counted and is_reached) as reached_count,
        count(*) filter (is_counted and is_reached and (is_delivery or step_us is not null)) as performed_count,
        count(*) filter (is_counted and is_dropped) as dropped_count,
        count(*) filter (is_open and not is_excluded) as open_count,
        count(*) filter (reached > 0 and is_mature and not is_excluded) as mature_count,
        count(*) filter (is_reached and is_mature and not is_excluded) as mature_reached_count,
        count(*) filter (reached > 0 and not is_mature and not is_excluded) as immature_count,
        count(*) filter (is_excluded and (is_mature or include_immature)) as excluded_count,
        median(step_us - times[1]) filter (is_counted) / 1000000 as median_seconds_from_entry
    from (
        select *, case when not is_delivery then times[step_number] end as step_us
        from fates
        inner join states using (reached, may_go_on, is_delivered, is_awaited)
    )
    group by breakdown, period, step_number, label
    -- A part of its own, so that it raises whether or not there are rows.
    union all
    select null, null, null, error('funnel: ' || problem), null, null, null, null, null, null, null, null, null
    from argument_problems
    where problem is not null
),

compared as (
    select
        *,
        first_value(reached_count) over steps_of as entered_count,
        lag(reached_count) over steps_of as previous_reached_count
    from counts
    window steps_of as (partition by breakdown, period order by step_number)
)

select
    breakdown, step_number, label as step, reached_count,
    reached_count / nullif(entered_count, 0) as conversion_rate,
    reached_count / nullif(previous_reached_count, 0) as step_conversion_rate,
    median_seconds_from_entry,
    entered_count,
    wilson_low(reached_count, entered_count) as conversion_rate_low,
    wilson_high(reached_count, entered_count) as conversion_rate_high,
    previous_reached_count,
    wilson_low(reached_count, previous_reached_count) as step_conversion_rate_low,
    wilson_high(reached_count, previous_reached_count) as step_conversion_rate_high,
    period, performed_count,
    reached_count - performed_count as skipped_count,
    dropped_count, open_count, mature_count, mature_reached_count,
    mature_reached_count / nullif(mature_count, 0) as rate,
    wilson_low(mature_reached_count, mature_count) as rate_low,
    wilson_high(mature_reached_count, mature_count) as rate_high,
    immature_count, excluded_count
from compared
order by breakdown nulls first, period nulls first, step_number
