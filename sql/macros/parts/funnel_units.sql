-- For macros of funnels: whose events are looked at, and what the sessions of a unit say of it.
span as (
    select
        (coalesce(window_seconds, funnel_window_seconds) * 1000000)::bigint as span_us,
        greatest(span_us, (funnel_window_seconds * 1000000)::bigint) as mature_us,
        epoch_us(data_through) as now_us
    from meta_build
),

-- A session is mature when all that began on its day have had the funnel window, and the one that is asked for.
members as materialized (
    select
        embed_id, breakdown, entry_date,
        case when unit = 'embed' then embed_id else min(embed_id) over (partition by user_id, breakdown) end as unit_id,
        coalesce(now_us - epoch_us(entry_date + 1) >= mature_us, false) as is_mature,
        outcome = 'open' and coalesce(now_us - epoch_us(entry_at) < mature_us, true) as may_go_on,
        coalesce(delivery = 'imported', false) as is_delivered,
        coalesce(delivery = 'pending', outcome = 'submitted') as is_awaited
    from broken_down
    cross join span
    where (from_date is null or entry_date >= try_cast(from_date::varchar as date))
        and (to_date is null or entry_date <= try_cast(to_date::varchar as date))
        and (by_period is null or entry_date is not null)
        and (unit = 'embed' or user_id is not null)
),

-- A unit is as old as its first session.
units as (
    select
        unit_id, breakdown,
        case by_period
            when 'day' then min(entry_date)
            when 'week' then date_trunc('week', min(entry_date))::date
            when 'month' then date_trunc('month', min(entry_date))::date
        end as period,
        bool_or(is_mature) as is_mature,
        bool_or(may_go_on) as may_go_on,
        bool_or(is_delivered) as is_delivered,
        bool_or(is_awaited) as is_awaited
    from members
    group by unit_id, breakdown
)
