-- Where a rate changed between two periods: the difference, split over segments and, apart from that, over steps.
--
--   before_from, before_to, after_from, after_to  entry dates of the sessions, all inclusive. By default the latest
--                   period ends on the last mature day and has period_days days, and the earlier one is the days just
--                   before it, as many. A period whose first or last day is given keeps it
--   "by"            a column of fct_embeds or a claim path (meta_claims) whose values are the segments; NULL: one segment
--   measure         submitted: sessions with an import_submitted / all sessions; delivered: sessions whose import arrived
--                   (delivery = imported, as far as known) / all sessions
--   period_days     length of a period that is not given; 28 by default
--   include_immature  false leaves out the sessions of days that are not mature (see fct_embed_funnel_daily) and counts
--                   them in before_immature_count and after_immature_count
--
-- The rows, by their column split:
--
--   total           the rate before and after; contribution is the difference, in shares (0.01 is a percentage point)
--   segments        a row per value of "by" (part). mix_contribution = change of the segment's share of the sessions x
--                   (its rate - the total rate), rate_contribution = change of its rate x its share, where rates and
--                   shares that are not a change are the means of both periods. A segment that is absent from one period
--                   has the other's rate there, so it is all mix. contribution is the sum of both
--   steps           a row per step after the first (part), with the rate at which sessions that reached the step before
--                   reach it. contribution = logarithmic mean of the total rates x change of the step rate's logarithm.
--                   Where a total rate is 0 there is none: then one row, (not split), has the whole difference. A
--                   delivered session has reached every step
--
-- The segments' contributions add up to the difference, and so do the steps'. They are two answers to two questions, as
-- are those of another "by": never add one to another. None of this says what caused the change.
-- Rates are ..._converted_count / ..._count, each with its 95 % Wilson interval (_low, _high); rate_difference is after -
-- before, with Newcombe's interval (1998, method 10). A period without sessions has no rate, so all that follows is NULL.
-- An argument that cannot be meant is an error, which suggests what may be.
create or replace macro explain_change(
    before_from := null,
    before_to := null,
    after_from := null,
    after_to := null,
    "by" := 'template_key',
    measure := 'submitted',
    period_days := 28,
    include_immature := false
) as table
with

/* breakdown */,

asked as (
    select
        build_id,
        try_cast(before_from::varchar as date) as asked_before_first,
        try_cast(before_to::varchar as date) as asked_before_last,
        try_cast(after_from::varchar as date) as asked_after_first,
        try_cast(after_to::varchar as date) as asked_after_last,
        (data_through - to_microseconds((funnel_window_seconds * 1000000)::bigint) - interval 1 day)::date as mature_date
    from meta_build
),

later as (
    select
        *,
        coalesce(asked_after_last, mature_date) as after_last,
        coalesce(asked_after_first, after_last - (period_days - 1)::integer) as after_first
    from asked
),

periods as (
    select
        *,
        coalesce(asked_before_last, after_first - 1) as before_last,
        coalesce(asked_before_first, before_last - (after_last - after_first)::integer) as before_first
    from later
),

bad_dates as (
    select
        any_value(name) || ' is not a date: ' || any_value(given) || '. Write date ''2026-01-31''' as problem
    from (
        select unnest(['before_from', 'before_to', 'after_from', 'after_to']) as name,
            unnest([before_from::varchar, before_to::varchar, after_from::varchar, after_to::varchar]) as given
    )
    where given is not null and try_cast(given as date) is null
    group by name
),

problems as (
    select case
        when build_id <> /* build_id */
            then 'this explain_change() belongs to another warehouse than the one in use. Run USE with the name of its'
                || ' database first, or connect to its file'
        when measure is null or measure not in ('submitted', 'delivered')
            then 'measure is submitted or delivered, not ' || coalesce(measure::varchar, 'NULL')
        when include_immature is null then 'include_immature is true or false, not NULL'
        when period_days is null or period_days < 1
            then 'period_days is at least 1, not ' || coalesce(period_days::varchar, 'NULL')
        when (select count(*) from bad_dates) > 0 then (select min(problem) from bad_dates)
        when after_first > after_last
            then 'after_from, ' || after_first::varchar || ', is after after_to, ' || after_last::varchar
                || ' (by default the last mature day). Give both, in their order'
        when before_first > before_last
            then 'before_from, ' || before_first::varchar || ', is after before_to, ' || before_last::varchar
                || '. Give both, in their order'
        when before_first <= after_last and after_first <= before_last
            then 'the periods share days: before is ' || before_first::varchar || ' to ' || before_last::varchar
                || ', after is ' || after_first::varchar || ' to ' || after_last::varchar
                || '. Move before_to or after_from'
        else (select min(problem) from unknown_by)
    end as problem
    from periods
),

steps as (
    select unnest(labels) as step, generate_subscripts(labels, 1) as step_number
    from (
        select case
            when measure = 'delivered' then list_append([/* funnel_steps */], 'delivered') else [/* funnel_steps */]
        end as labels
    )
),

sessions as (
    select
        breakdown,
        entry_date between after_first and after_last as is_after,
        include_immature or coalesce(entry_date <= mature_date, false) as is_counted,
        case
            when measure = 'delivered' and delivery = 'imported' then (select max(step_number) from steps)
            else steps.step_number
        end as reached_number
    from broken_down
    inner join steps on steps.step = furthest_step
    cross join periods
    where entry_date between before_first and before_last or entry_date between after_first and after_last
),

counts as (
    select breakdown, is_after, is_counted, reached_number, count(*) as session_count
    from sessions
    group by breakdown, is_after, is_counted, reached_number
),

-- Of the whole (no breakdown counts) and of each segment. Without any session there is a whole all the same.
groups as (
    select
        is_whole, breakdown,
        coalesce(sum(session_count) filter (is_counted and not is_after), 0)::bigint as before_n,
        coalesce(sum(session_count) filter (is_counted and is_after), 0)::bigint as after_n,
        coalesce(sum(session_count) filter (is_counted and not is_after and is_last), 0)::bigint as before_k,
        coalesce(sum(session_count) filter (is_counted and is_after and is_last), 0)::bigint as after_k,
        coalesce(sum(session_count) filter (not is_counted and not is_after), 0)::bigint as before_immature,
        coalesce(sum(session_count) filter (not is_counted and is_after), 0)::bigint as after_immature
    from (
        select false as is_whole, breakdown, is_after, is_counted, session_count,
            reached_number = (select max(step_number) from steps) as is_last
        from counts
        union all
        select true, null, is_after, is_counted, session_count,
            reached_number = (select max(step_number) from steps)
        from counts
        union all
        select true, null, null, null, 0, null
    )
    group by is_whole, breakdown
),

whole as (
    select
        *,
        before_k / nullif(before_n, 0) as before_total,
        after_k / nullif(after_n, 0) as after_total,
        after_total - before_total as difference,
        difference / nullif(after_total + before_total, 0) as z,
        -- The logarithmic mean of the rates. Near each other, its series: the quotient of two differences would be noise.
        case
            when before_k = 0 or after_k = 0 then null
            when abs(z) < 0.01
                then (after_total + before_total) / 2 / (1 + power(z, 2) / 3 + power(z, 4) / 5 + power(z, 6) / 7)
            else difference / ln(after_total / before_total)
        end as log_mean
    from groups
    where is_whole
),

segments as (
    select
        groups.breakdown, groups.before_n, groups.before_k, groups.after_n, groups.after_k,
        groups.before_immature, groups.after_immature,
        groups.before_n / nullif(whole.before_n, 0) as before_w,
        groups.after_n / nullif(whole.after_n, 0) as after_w,
        groups.before_k / nullif(groups.before_n, 0) as before_r,
        groups.after_k / nullif(groups.after_n, 0) as after_r,
        -- A segment of immature sessions alone is absent from both periods, and contributes nothing.
        coalesce(before_r, after_r, 0) as before_filled,
        coalesce(after_r, before_r, 0) as after_filled,
        (after_w - before_w) * ((before_filled + after_filled) / 2 - (before_total + after_total) / 2) + 0 as mix,
        (after_filled - before_filled) * (before_w + after_w) / 2 + 0 as rate
    from groups
    cross join whole
    where not groups.is_whole
),

step_counts as (
    select
        step_number, step,
        coalesce(sum(session_count) filter (not is_after), 0)::bigint as before_k,
        coalesce(sum(session_count) filter (is_after), 0)::bigint as after_k
    from steps
    left join counts on is_counted and reached_number >= step_number
    group by step_number, step
),

step_rows as (
    select
        step_number, step, before_k, after_k,
        lag(before_k) over (order by step_number) as before_n,
        lag(after_k) over (order by step_number) as after_n
    from step_counts
),

rows_of_all as (
    select
        1 as split_number, 'total' as split, null as part, null as part_number,
        difference as contribution, null::double as mix, null::double as rate,
        before_n, before_k, after_n, after_k, null::double as before_w, null::double as after_w,
        before_immature, after_immature
    from whole
    union all
    select
        2, 'segments', breakdown, null,
        mix + rate, mix, rate,
        before_n, before_k, after_n, after_k, before_w, after_w,
        before_immature, after_immature
    from segments
    union all
    select
        3, 'steps', step, step_number,
        log_mean * ln(
            (step_rows.after_k / nullif(step_rows.after_n, 0)) / (step_rows.before_k / nullif(step_rows.before_n, 0))
        ),
        null, null,
        step_rows.before_n, step_rows.before_k, step_rows.after_n, step_rows.after_k, null, null,
        before_immature, after_immature
    from step_rows
    cross join whole
    where step_number > 1 and log_mean is not null
    union all
    select
        3, 'steps', '(not split)', null,
        difference, null, null,
        before_n, before_k, after_n, after_k, null, null,
        before_immature, after_immature
    from whole
    where log_mean is null
    -- A part of its own, so that it raises whether or not there are rows.
    union all
    select
        0, error('explain_change: ' || problem), null, null, null, null, null, null, null, null, null, null, null, null,
        null
    from problems
    where problem is not null
),

rated as (
    select
        *,
        before_k / nullif(before_n, 0) as before_r,
        wilson_low(before_k, before_n) as before_low,
        wilson_high(before_k, before_n) as before_high,
        after_k / nullif(after_n, 0) as after_r,
        wilson_low(after_k, after_n) as after_low,
        wilson_high(after_k, after_n) as after_high
    from rows_of_all
)

select
    split, part, contribution, mix as mix_contribution, rate as rate_contribution,
    before_n as before_count,
    before_k as before_converted_count,
    before_r as before_rate,
    before_low as before_rate_low,
    before_high as before_rate_high,
    after_n as after_count,
    after_k as after_converted_count,
    after_r as after_rate,
    after_low as after_rate_low,
    after_high as after_rate_high,
    after_r - before_r as rate_difference,
    after_r - before_r - sqrt(power(after_r - after_low, 2) + power(before_high - before_r, 2)) as rate_difference_low,
    after_r - before_r + sqrt(power(after_high - after_r, 2) + power(before_r - before_low, 2)) as rate_difference_high,
    before_w as before_share,
    after_w as after_share,
    before_immature as before_immature_count,
    after_immature as after_immature_count,
    periods.before_first as before_from,
    periods.before_last as before_to,
    periods.after_first as after_from,
    periods.after_last as after_to
from rated
cross join periods
order by split_number, part_number, abs(contribution) desc nulls last, part
