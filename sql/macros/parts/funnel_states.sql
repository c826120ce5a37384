-- For macros of funnels: what became of each unit, and what that says of each step. Both macros take their numbers and
-- sessions from here, so that they are the same. DuckDB 1.1.3 plans a CTE anew for each time that it is named, whatever is
-- materialized. So the chains are named once here.
--
excluded_events as (
    select unit_id, list(epoch_us(occurred_at)) as excluded_times
    from stg_embed_events
    inner join members using (embed_id)
    inner join excluded_labels
        on base = event_type and (wanted_operation is null or wanted_operation = operation)
    group by unit_id
),

-- `reached` is how many steps a unit reached.
fates as (
    select
        units.*, times,
        coalesce(len(times), 0) as reached,
        coalesce(
            len([excluded_us for excluded_us in excluded_times if excluded_us > times[1] and excluded_us < times[-1]]) > 0,
            false
        ) as is_excluded,
        not is_excluded and (is_mature or include_immature) as is_counted
    from units
    left join (select unit_id, times from best_chains union all select unit_id, times from best_fills) using (unit_id)
    left join excluded_events using (unit_id)
),

states as (
    select
        reached, may_go_on, is_delivered, is_awaited, step_number, label, is_delivery,
        case when is_delivery then reached >= step_number - 1 and is_delivered else reached >= step_number end as is_reached,
        not is_reached and (may_go_on or (is_delivery and reached = step_number - 1 and is_awaited)) as is_open,
        not is_reached and not is_open and step_number > 1 and reached = step_number - 1 as is_dropped
    from (select unnest(generate_series(0, len(steps))) as reached)
    cross join (select unnest([true, false]) as may_go_on)
    cross join (select unnest([true, false]) as is_delivered)
    cross join (select unnest([true, false]) as is_awaited)
    cross join funnel_steps
)
