-- For macros of funnels, mode any: the best window of each unit, `times` being those of the events that fill its steps.
--
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

best_fills as (
    select unit_id, list(time_us order by event_number) as times
    from (
        select
            *,
            filled_count - coalesce(lag(filled_count) over (partition by unit_id, base order by event_number), 0) as change
        from window_fills
    )
    where change > 0
    group by unit_id
)
