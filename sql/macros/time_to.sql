-- How long it takes until a step is reached, and how many ever reach it: the cumulative incidence, with sessions that
-- ended otherwise as competing ends and open ones as not yet known (Aalen-Johansen).
--
--   step            a step of the vendor's funnel: reached at the first event of it, or of a later step, from the entry on
--   "by"            a column of fct_embeds or a claim path (meta_claims) to break the numbers down by; nothing by default
--   from_date, to_date  entry dates of the sessions, both inclusive
--   variance        aalen: Aalen's (1978), with n - 1; delta: the same with n, as Dinse and Larson (1986) and statsmodels
--
-- Time runs from entry_at, in seconds. A session that did not reach the step ended by its outcome: closed at its last event;
-- silent at its last event + idle_after, when it no longer counted as open; an open one is followed up to data_through (to
-- its last event where that is not known) and then censored. So young sessions count for as long as they have been seen, and
-- none is left out for being immature. A session whose beginning was not seen (no embed_initialized), that has no plausible
-- time, or that reached the step only before its embed_initialized, is left out and counted in left_out_count.
--
-- A row is a breakdown x time t at which any session reached the step, ended or was censored; t is NULL where all sessions
-- are left out. at_risk sessions were still on their way just before t; of those, converted reached the step at t, closed
-- and silent ended, and censored are open and seen no further. incidence is the share that has reached the step by t:
--
--   incidence  F(t) = sum over times u <= t of S(u-) x converted / at_risk
--   S(u)       = product over times v <= u of 1 - (converted + closed + silent) / at_risk
--   variance   = sum over times u <= t of the variance of (S(u-) - b) x converted share - b x other ends' share, where
--                b = (F(t) - F(u)) / (1 - all ends' share), and shares of n sessions vary like those of a multinomial, over
--                n - 1 (aalen) or n (delta); where all n ended, b is 0, and where n is 1, so is the variance
--
-- Its 95 % interval (_low, _high) is made on the scale log(-log(F)), and is NULL where F is 0 or 1. median is the first t at
-- which half of all sessions have reached the step, NULL where fewer have. Its interval is where the interval of F meets a
-- half, with NULL for an end that is not known. The last rows rest on few sessions: look at at_risk.
-- An argument that cannot be meant is an error, which suggests what may be.
create or replace macro time_to(
    step := 'import_submitted',
    "by" := null,
    from_date := null,
    to_date := null,
    variance := 'aalen'
) as table
with

/* breakdown */,

steps as (
    select unnest([/* funnel_steps */]) as label, generate_subscripts([/* funnel_steps */], 1) as step_number
),

/* bad_dates */,

problems as (
    select case
        when (select build_id from meta_build) <> /* build_id */
            then 'this time_to() belongs to another warehouse than the one in use. Run USE with the name of its database'
                || ' first, or connect to its file'
        when step is null then 'step is a step of the funnel, not NULL'
        when (select count(*) from steps where label = step) = 0
            then 'step is not a step of the funnel: ' || step || '. Did you mean '
                || (select arg_max(label, jaro_winkler_similarity(label, step)) from steps) || '?'
        when variance is null or variance not in ('aalen', 'delta')
            then 'variance is aalen or delta, not ' || coalesce(variance::varchar, 'NULL')
        when (select count(*) from bad_dates) > 0 then (select min(problem) from bad_dates)
        else (select min(problem) from unknown_by)
    end as problem
),

members as (
    select embed_id, breakdown, is_entry_observed, entry_at, last_event_at, outcome
    from broken_down
    where (from_date is null or entry_date >= try_cast(from_date::varchar as date))
        and (to_date is null or entry_date <= try_cast(to_date::varchar as date))
),

arrivals as (
    select embed_id, min(occurred_at) filter (occurred_at >= entry_at) as arrived_at
    from stg_embed_events
    inner join members using (embed_id)
    cross join (select plausible_from, plausible_until from meta_build)
    -- A list of constants, which events are filtered by as they are read. A subquery is joined after the sessions.
    where list_contains([/* funnel_steps */][list_position([/* funnel_steps */], step):], event_type)
        and occurred_at between plausible_from and plausible_until
    group by embed_id
),

ends as (
    select
        breakdown, entry_at,
        case
            when not is_entry_observed or entry_at is null then null
            when arrived_at is not null then 'converted'
            -- It reached the step before its embed_initialized.
            when arrivals.embed_id is not null then null
            when outcome = 'open' then 'censored'
            else outcome
        end as kind,
        case kind
            when 'converted' then arrived_at
            when 'closed' then last_event_at
            when 'silent' then last_event_at + to_microseconds((idle_after_seconds * 1000000)::bigint)
            -- An event may be later than data_through: it came while that refresh was under way.
            when 'censored' then greatest(coalesce(data_through, last_event_at), entry_at)
        end as ended_at
    from members
    left join arrivals using (embed_id)
    cross join (select data_through, idle_after_seconds from meta_build)
),

breakdowns as (
    select
        breakdown,
        count(kind) as entered_count,
        count(*) - count(kind) as left_out_count
    from ends
    group by breakdown
),

times as (
    select
        breakdown,
        date_diff('microsecond', entry_at, ended_at) as time_us,
        count(*) filter (kind = 'converted') as converted,
        count(*) filter (kind = 'closed') as closed,
        count(*) filter (kind = 'silent') as silent,
        count(*) filter (kind = 'censored') as censored,
        converted + closed + silent as ended
    from ends
    where kind is not null
    group by breakdown, time_us
),

risks as (
    select
        *,
        (sum(ended + censored) over (
            partition by breakdown order by time_us rows between current row and unbounded following
        ))::double as n
    from times
),

survivals as (
    select
        *,
        product((n - ended) / n) over so_far as survival,
        sum(closed + silent) over so_far as competing
    from risks
    window so_far as (partition by breakdown order by time_us rows unbounded preceding)
),

befores as (
    select
        *,
        coalesce(lag(survival) over (partition by breakdown order by time_us), 1) as survival_before,
        n - (variance = 'aalen')::integer as divisor
    from survivals
),

incidences as (
    select
        *,
        case
            -- All of them converted. The sum could miss 1 by a rounding.
            when survival = 0 and competing = 0 then 1
            else least(sum(survival_before * converted / n) over so_far, 1)
        end as f,
        -- The variance is the sum of (F(t) - F(u))^2 x ended_term + converted_term - 2 (F(t) - F(u)) x both_term.
        case when ended > 0 and ended < n then ended / (divisor * (n - ended)) else 0 end as ended_term,
        case
            when converted > 0 and converted < n
                then power(survival_before, 2) * converted * (n - converted) / (n * n * divisor)
            else 0
        end as converted_term,
        case when converted > 0 and ended < n then survival_before * converted / (n * divisor) else 0 end as both_term
    from befores
    window so_far as (partition by breakdown order by time_us rows unbounded preceding)
),

errors as (
    select
        breakdown, time_us, n, converted, closed, silent, censored, f,
        sqrt(greatest(
            f * f * sum(ended_term) over so_far
            - 2 * f * sum(f * ended_term) over so_far
            + sum(f * f * ended_term) over so_far
            + sum(converted_term) over so_far
            - 2 * f * sum(both_term) over so_far
            + 2 * sum(f * both_term) over so_far,
            0
        )) as standard_error,
        case when f > 0 and f < 1 then exp(least(1.959963984540054e0 * standard_error / (f * -ln(f)), 700)) end as ratio
    from incidences
    window so_far as (partition by breakdown order by time_us rows unbounded preceding)
),

curves as (
    select *, power(f, ratio) as f_low, power(f, 1 / ratio) as f_high
    from errors
),

medians as (
    select
        breakdown,
        -- A half that is a sum of fractions may miss one by a rounding.
        min(time_us) filter (f > 0.5 - 1e-12) as median_us,
        min(time_us) filter (coalesce(f_high, f) > 0.5 - 1e-12) as low_us,
        min(time_us) filter (f_low > 0.5 - 1e-12) as high_us
    from curves
    group by breakdown
),

time_rows as (
    select
        breakdowns.breakdown, time_us, n, converted, closed, silent, censored, f, f_low, f_high, standard_error,
        median_us, low_us, high_us, entered_count, left_out_count
    from breakdowns
    left join curves on curves.breakdown is not distinct from breakdowns.breakdown
    left join medians on medians.breakdown is not distinct from breakdowns.breakdown
    -- A part of its own, so that it raises whether or not there are rows.
    union all
    select
        error('time_to: ' || problem), null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null
    from problems
    where problem is not null
)

select
    breakdown,
    time_us / 1000000 as t,
    n::bigint as at_risk,
    converted, closed, silent, censored,
    f as incidence,
    f_low as incidence_low,
    f_high as incidence_high,
    standard_error,
    median_us / 1000000 as median,
    low_us / 1000000 as median_low,
    high_us / 1000000 as median_high,
    entered_count,
    left_out_count
from time_rows
order by breakdown nulls first, time_us
