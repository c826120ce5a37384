-- Any funnel over the events: how many sessions or users reached each step, and how fast.
--
--   steps           event types, or event_type:operation; the vendor's five by default
--   by              a column of fct_embeds or a claim path (meta_claims) to break the numbers down by; nothing by default
--   window_seconds  time from the start to the last step, inclusive; the setting funnel_window by default
--   mode            ordered: a chain starts at any event of the first step, and each next step is the nearest later event;
--                   strict: the same with no other event of the unit in between;
--                   any: row k counts the units with k of the steps, in any order, within one window; no step is optional
--   unit            embed, or user: the events of all sessions with one user_id claim together
--   from_date, to_date  entry dates of the sessions, both inclusive
--   optional        steps that a chain may skip when it performs a later one, except the first step of all; by default
--                   those whose panes the vendor skips; [] lets none be skipped
--
-- One event fills one step. Events are ordered by occurred_at, event_id, event_uuid. Of a unit's chains the one counts that
-- gets furthest; of those the one that performs the most steps, then starts first, then ends first. A unit reaches every
-- step up to the furthest of its chain. Seconds are those of the chain, in the units that performed the step.
-- An argument that cannot be meant is an error, which suggests what may be. So is the funnel() of an attached warehouse
-- that is not the one in use: DuckDB would answer from the tables of the one in use.
--
-- conversion_rate is reached_count / entered_count (the first step's), step_conversion_rate reached_count /
-- previous_reached_count, each with its 95 % Wilson interval (_low, _high). Sessions that are too young to have had the
-- window count, too: leave them out with to_date where rates are compared.
create or replace macro funnel(
    steps := [/* funnel_steps */],
    "by" := null,
    window_seconds := null,
    mode := 'ordered',
    unit := 'embed',
    from_date := null,
    to_date := null,
    optional := [/* optional_steps */]
) as table
with recursive

labels as (
    select
        step_number, label,
        split_part(label, ':', 1) as base,
        case when contains(label, ':') then substr(label, strpos(label, ':') + 1) end as wanted_operation,
        list_contains(optional::varchar[], label) as is_optional
    from (select unnest(steps::varchar[]) as label, generate_subscripts(steps, 1) as step_number)
),

-- What the arguments name, beside what it could name.
named as (
    select
        split_part(label, ':', 1) as base,
        case when contains(label, ':') then substr(label, strpos(label, ':') + 1) end as wanted_operation
    from (select unnest(list_concat(steps::varchar[], optional::varchar[])) as label)
),

unknown_types as (
    select
        'the event type ' || base || ' is not in the vendor''s list and was never seen. Did you mean '
            || arg_max(event_type, jaro_winkler_similarity(event_type, base)) || '?' as problem
    from named
    cross join meta_event_types
    where base is not null
    group by base
    having not bool_or(event_type = base)
),

-- Where no operation has been seen, nobody knows what they are called.
unknown_operations as (
    select
        'the operation ' || wanted_operation || ' of ' || base || ' was never seen. Did you mean '
            || arg_max(
                event_type || ':' || operation,
                (event_type = base)::int + jaro_winkler_similarity(operation, wanted_operation)
            ) || '?' as problem
    from named
    cross join (select distinct event_type, operation from stg_embed_events where operation is not null) as seen
    where wanted_operation is not null
    group by base, wanted_operation
    having not bool_or(event_type = base and operation = wanted_operation)
),

/* breakdown */,

problems as (
    select case
        when (select build_id from meta_build) <> /* build_id */
            then 'this funnel() belongs to another warehouse than the one in use. Run USE with the name of its database'
                || ' first, or connect to its file'
        when mode is null or mode not in ('ordered', 'strict', 'any')
            then 'mode is ordered, strict or any, not ' || coalesce(mode::varchar, 'NULL')
        when unit is null or unit not in ('embed', 'user')
            then 'unit is embed or user, not ' || coalesce(unit::varchar, 'NULL')
        when window_seconds < 0 then 'window_seconds is negative: ' || window_seconds::varchar
        when coalesce(len(steps), 0) = 0 then 'steps is empty: name at least one event type'
        when optional is null then 'optional is NULL: [] lets no step be skipped'
        when (select count(*) from named where base is null) > 0 then 'a step is NULL'
        else coalesce(
            (select min(problem) from unknown_types),
            (select min(problem) from unknown_operations),
            (select min(problem) from unknown_by)
        )
    end as problem
),

-- Which step may follow which in a chain: one with no step in between, or only optional ones.
follows as (
    select here.step_number, there.step_number as next_step_number, there.base as next_base
    from labels as here
    inner join labels as there on there.step_number > here.step_number
    where mode <> 'any'
        and not exists (
            from labels as skipped
            where skipped.step_number > here.step_number
                and skipped.step_number < there.step_number
                and not skipped.is_optional
        )
),

-- Which later hits to look for, besides the very next one: all, if its step may not follow. If it may, only those of an
-- earlier step, which it would skip, and of a step that the same event fills. Later hits of later steps are no use then:
-- the next hit can be performed before them, which adds a step and takes no time.
sought as (
    select other.step_number, nexts.step_number as next_step_number, other.next_step_number as sought_step_number
    from follows as other
    cross join (select step_number, base from labels union all select 0, null) as nexts
    left join follows as fitting
        on fitting.step_number = other.step_number and fitting.next_step_number = nexts.step_number
    where fitting.step_number is null
        or other.next_step_number < nexts.step_number
        or (other.next_step_number > nexts.step_number and other.next_base = nexts.base)
),

span as (
    select (coalesce(window_seconds, (select funnel_window_seconds from meta_build)) * 1000000)::bigint as span_us
),

members as materialized (
    select
        embed_id, breakdown,
        case when unit = 'embed' then embed_id else dense_rank() over (order by user_id, breakdown) end as unit_id
    from broken_down
    where (from_date is null or entry_date >= from_date::date)
        and (to_date is null or entry_date <= to_date::date)
        and (unit = 'embed' or user_id is not null)
),

units as (
    select distinct unit_id, breakdown from members
),

-- ordered: mostly the first hits of each step are the best chain already (sql/functions/first_hits.sql says why).
firsts_of_units as materialized (
    select unit_id, firsts, steps_in_reach(firsts, steps::varchar[], optional::varchar[]) as reach
    from (
        select unit_id, first_hits(step_number, epoch_us(occurred_at)) as firsts
        from stg_embed_events
        inner join members using (embed_id)
        inner join labels
            on base = event_type and (wanted_operation is null or wanted_operation = operation)
        cross join (select plausible_from, plausible_until from meta_build)
        where mode = 'ordered' and occurred_at between plausible_from and plausible_until
        group by unit_id
    )
),

first_chains as materialized (
    select
        unit_id, first_times(firsts, reach) as times,
        first_hits_rise(firsts, reach) and list_max(times) - times[1] <= span_us as is_best
    from firsts_of_units
    cross join span
    -- Without a first step there is no chain.
    where reach is null or reach > 0
),

-- The hits of the other units are cut into clusters where the pause is longer than the window. No chain crosses such a
-- pause, so the best chain of the unit is the best one of the clusters' best.
open_members as materialized (
    select embed_id, unit_id
    from members
    semi join (select unit_id from first_chains where not is_best) using (unit_id)
),

open_hits as materialized (
    select unit_id, step_number, label, epoch_us(occurred_at) as time_us, event_id, event_uuid
    from stg_embed_events
    inner join open_members using (embed_id)
    inner join labels
        on base = event_type and (wanted_operation is null or wanted_operation = operation)
    cross join (select plausible_from, plausible_until from meta_build)
    where occurred_at between plausible_from and plausible_until
),

-- The count takes in all hits at one time, so that these stay together.
cut_hits as materialized (
    select
        unit_id, step_number, label, time_us, event_id, event_uuid,
        count(*) filter (is_cut) over (partition by unit_id order by time_us) as cluster_number
    from (
        select *, time_us - lag(time_us) over (partition by unit_id order by time_us) > span_us as is_cut
        from open_hits
        cross join span
    )
),

firsts_of_clusters as materialized (
    select unit_id, cluster_number, firsts, steps_in_reach(firsts, steps::varchar[], optional::varchar[]) as reach
    from (
        select unit_id, cluster_number, first_hits(step_number, time_us) as firsts
        from cut_hits
        group by unit_id, cluster_number
    )
),

cluster_chains as materialized (
    select
        unit_id, cluster_number, first_times(firsts, reach) as times,
        first_hits_rise(firsts, reach) and list_max(times) - times[1] <= span_us as is_best
    from firsts_of_clusters
    cross join span
    where reach is null or reach > 0
),

events as (
    select
        unit_id, event_type, operation, epoch_us(occurred_at) as time_us,
        row_number() over (partition by unit_id order by occurred_at, event_id nulls last, event_uuid) as event_number
    from stg_embed_events
    inner join members using (embed_id)
    cross join (select plausible_from, plausible_until from meta_build)
    where mode <> 'ordered'
        and (mode = 'strict' or event_type in (select base from labels))
        and occurred_at between plausible_from and plausible_until
),

event_hits as (
    select unit_id, event_number, time_us, step_number, label
    from events
    inner join labels
        on base = event_type and (wanted_operation is null or wanted_operation = operation)
),

-- ordered: those of the clusters that the short way cannot answer. An event that fills two steps keeps one number.
hits as materialized (
    select unit_id, event_number, time_us, step_number, label
    from event_hits
    where mode = 'strict'
    union all
    select
        unit_id,
        dense_rank() over (partition by unit_id order by time_us, event_id nulls last, event_uuid) as event_number,
        time_us, step_number, label
    from cut_hits
    semi join (select unit_id, cluster_number from cluster_chains where not is_best) using (unit_id, cluster_number)
),

-- ordered: link each hit to the nearest later one of each step that may follow. That one leaves the most events and the
-- most time for what comes after. Mostly it is the very next hit.
next_hits as (
    select
        unit_id, step_number, event_number,
        lead(event_number) over later as next_event_number,
        lead(time_us) over later as next_time_us,
        case when next_event_number > event_number then lead(step_number) over later else 0 end as next_step_number
    from hits
    where mode = 'ordered'
    window later as (partition by unit_id order by event_number, step_number)
),

-- Where it is not, a window goes backwards, so that the nearest later hit is the last one it has met. It meets an event
-- only after making the links from it, so no event follows itself. (An as-of join would be shorter, but DuckDB 2.0
-- refuses one beside a recursion.)
seekers as (
    select unit_id, step_number, event_number, sought_step_number as next_step_number
    from next_hits
    inner join sought using (step_number, next_step_number)
    where next_event_number is not null
),

ends as (
    select
        unit_id, step_number, event_number, next_step_number,
        null::bigint as next_event_number, null::bigint as next_time_us
    from seekers
    union all
    select unit_id, null, event_number, step_number, event_number, time_us
    from hits
    where (unit_id, step_number) in (select (unit_id, next_step_number) from seekers)
),

met as (
    select
        unit_id, step_number, event_number, next_step_number,
        min(next_event_number) over backwards as next_event_number,
        min(next_time_us) over backwards as next_time_us
    from ends
    window backwards as (
        partition by unit_id, next_step_number
        order by event_number desc, step_number desc nulls last
        rows unbounded preceding
    )
),

-- Along these links the chains go from every start. strict: to the very next event.
links as (
    select unit_id, step_number, event_number, next_step_number, next_event_number, next_time_us
    from next_hits
    semi join follows using (step_number, next_step_number)
    union all
    select unit_id, step_number, event_number, next_step_number, next_event_number, next_time_us
    from met
    where step_number is not null and next_event_number is not null
    union all
    select here.unit_id, here.step_number, here.event_number, there.step_number, there.event_number, there.time_us
    from (
        select *, event_number + 1 as following from hits inner join follows using (step_number) where mode = 'strict'
    ) as here
    inner join hits as there
        on there.unit_id = here.unit_id
        and there.step_number = here.next_step_number
        and there.event_number = here.following
),

-- Each round performs one more step. Of the chains with the same start, number of steps and last step, only the one that
-- ends first is kept: it can go on in every way the others can, and no later. So the chains from a start are at most as
-- many as the pairs of a last step and a number of steps, however many steps are optional. `times` has a place for each
-- step, NULL where it was skipped.
chains as (
    select
        unit_id, event_number as start_number, time_us as start_us,
        1::bigint as performed_count, step_number, event_number, time_us, [time_us] as times
    from hits
    where step_number = 1 and mode <> 'any'
    union all
    select
        unit_id, start_number, start_us, performed_count, next_step_number, next_event_number, next_time_us,
        list_append(list_resize(times, next_step_number - 1), next_time_us)
    from (
        select
            chains.unit_id, start_number, start_us, performed_count + 1 as performed_count, times,
            next_step_number, next_event_number, next_time_us,
            row_number() over (
                partition by chains.unit_id, start_number, next_step_number
                order by next_event_number, chains.event_number, chains.step_number
            ) as place
        from chains
        inner join links
            on links.unit_id = chains.unit_id
            and links.step_number = chains.step_number
            and links.event_number = chains.event_number
        cross join span
        where next_time_us <= start_us + span_us
    )
    where place = 1
),

best_chains as (
    select unit_id, start_us, times
    from (
        select unit_id, start_us, start_number, step_number, performed_count, times from chains
        union all
        select
            unit_id, times[1] as start_us, 0 as start_number, list_position(times, list_max(times)) as step_number,
            list_count(times) as performed_count, times[1:step_number] as times
        from cluster_chains
        where is_best
    )
    -- Starts have numbers within the hits of `chains` alone.
    qualify row_number() over (
        partition by unit_id order by step_number desc, performed_count desc, start_us, start_number
    ) = 1
    union all
    select unit_id, times[1], times[1:list_position(times, list_max(times))]
    from first_chains
    where is_best
),

-- any: only the first `cap` hits of a label count in a window. A hit is one of them if the window begins after the hit
-- `cap` places before it, and at most one window length before the hit itself: an interval of starts. The intervals
-- that cover a point in time are the hits of the window that begins there, so one pass finds the best window. An event
-- fills one step: a step that names an operation takes its events first, and a step of the whole event type takes from
-- what is left.
wanted as (
    select label, base, wanted_operation is not null as is_narrow, count(*) as copies
    from labels
    where mode = 'any'
    group by label, base, is_narrow
),

bases as (
    select
        base,
        coalesce(sum(copies) filter (not is_narrow), 0) as wide_copies,
        coalesce(sum(copies) filter (is_narrow), 0) as narrow_copies
    from wanted
    group by base
),

label_hits as (
    select
        unit_id, event_number, time_us, label, base, is_narrow,
        case when is_narrow then copies else wide_copies + narrow_copies end as cap
    from (select distinct unit_id, event_number, time_us, label from event_hits where mode = 'any')
    inner join wanted using (label)
    inner join bases using (base)
),

covers as (
    select
        unit_id, base, is_narrow,
        greatest(
            1 + max(time_us) over (
                partition by unit_id, label order by event_number rows between cap preceding and cap preceding
            ),
            time_us - span_us
        ) as from_us,
        time_us + 1 as until_us
    from label_hits
    cross join span
),

edges as (
    select unit_id, base, is_narrow, from_us as at_us, 1 as change from covers where from_us < until_us
    union all
    select unit_id, base, is_narrow, until_us, -1 from covers where from_us < until_us
),

base_changes as (
    select
        unit_id, base, at_us,
        coalesce(sum(change) filter (is_narrow), 0) as narrow_change,
        coalesce(sum(change) filter (not is_narrow), 0) as wide_change
    from edges
    group by unit_id, base, at_us
),

base_counts as (
    select
        unit_id, base, at_us,
        sum(narrow_change) over base_order as narrow_count,
        sum(wide_change) over base_order as wide_count
    from base_changes
    window base_order as (partition by unit_id, base order by at_us)
),

base_fills as (
    select unit_id, base, at_us, narrow_count + least(wide_copies, wide_count - narrow_count) as filled_count
    from base_counts
    inner join (select * from bases where wide_copies > 0) using (base)
    union all
    select unit_id, base, at_us, narrow_count
    from base_counts
    inner join (select * from bases where wide_copies = 0) using (base)
),

fill_changes as (
    select
        unit_id, at_us,
        filled_count - coalesce(lag(filled_count) over (partition by unit_id, base order by at_us), 0) as change
    from base_fills
),

fill_counts as (
    select unit_id, at_us, sum(sum(change)) over (partition by unit_id order by at_us) as filled_count
    from fill_changes
    group by unit_id, at_us
),

best_points as (
    select distinct on (unit_id) unit_id, at_us from fill_counts order by unit_id, filled_count desc, at_us
),

best_windows as (
    select unit_id, min(time_us) as start_us
    from label_hits
    inner join best_points using (unit_id)
    where time_us >= at_us
    group by unit_id
),

window_hits as (
    select
        unit_id, event_number, time_us, start_us, base, is_narrow,
        row_number() over (partition by unit_id, label order by event_number) <= cap as is_counted
    from label_hits
    inner join best_windows using (unit_id)
    cross join span
    where time_us between start_us and start_us + span_us
),

window_events as (
    select
        unit_id, base, event_number, time_us, start_us,
        sum(count(*) filter (is_narrow and is_counted)) over event_order as narrow_count,
        sum(count(*) filter (not is_narrow and is_counted)) over event_order as wide_count
    from window_hits
    group by unit_id, base, event_number, time_us, start_us
    window event_order as (partition by unit_id, base order by event_number)
),

window_fills as (
    select
        unit_id, base, event_number, time_us, start_us,
        case
            when wide_copies > 0 then narrow_count + least(wide_copies, wide_count - narrow_count) else narrow_count
        end as filled_count
    from window_events
    inner join bases using (base)
),

fills as (
    select
        unit_id,
        unnest(generate_series(1, len(times))) as step_number,
        (unnest(times) - start_us) / 1000000 as seconds
    from best_chains
    union all
    select
        unit_id,
        row_number() over (partition by unit_id order by event_number) as step_number,
        (time_us - start_us) / 1000000 as seconds
    from (
        select
            *,
            filled_count - coalesce(lag(filled_count) over (partition by unit_id, base order by event_number), 0) as change
        from window_fills
    )
    where change > 0
),

reached as (
    select breakdown, step_number, count(*) as reached_count, median(seconds) as median_seconds_from_entry
    from fills
    inner join units using (unit_id)
    group by breakdown, step_number
),

funnel_rows as (
    select
        breakdowns.breakdown, labels.step_number,
        case when mode = 'any' then 'any ' || labels.step_number else label end as step,
        coalesce(reached_count, 0) as reached_count,
        median_seconds_from_entry
    from (select distinct breakdown from units) as breakdowns
    cross join labels
    left join reached
        on reached.breakdown is not distinct from breakdowns.breakdown and reached.step_number = labels.step_number
    -- A part of its own, so that it raises whether or not there are rows.
    union all
    select null, null, error('funnel: ' || problem), null, null
    from problems
    where problem is not null
),

compared as (
    select
        *,
        first_value(reached_count) over steps_of as entered_count,
        lag(reached_count) over steps_of as previous_reached_count
    from funnel_rows
    window steps_of as (partition by breakdown order by step_number)
)

select
    breakdown, step_number, step, reached_count,
    reached_count / nullif(entered_count, 0) as conversion_rate,
    reached_count / nullif(previous_reached_count, 0) as step_conversion_rate,
    median_seconds_from_entry,
    entered_count,
    wilson_low(reached_count, entered_count) as conversion_rate_low,
    wilson_high(reached_count, entered_count) as conversion_rate_high,
    previous_reached_count,
    wilson_low(reached_count, previous_reached_count) as step_conversion_rate_low,
    wilson_high(reached_count, previous_reached_count) as step_conversion_rate_high
from compared
order by breakdown nulls first, step_number
