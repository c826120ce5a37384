-- For macros of funnels, modes ordered and strict: the best chain of each unit. `times` has the time of each step up to the
-- furthest one, NULL where it was skipped. `span` and `members` are the caller's.
--
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
    select unit_id, times
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
    select unit_id, times[1:list_position(times, list_max(times))]
    from first_chains
    where is_best
)
