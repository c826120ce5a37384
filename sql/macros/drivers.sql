-- What goes with an outcome: of the sessions that performed a step, each fact that was known by then, in a 2x2 table with
-- what became of the session afterwards. It compares like with like in `hold`. None of this says what caused the outcome.
--
--   outcome         submitted: an import_submitted; delivered: the import arrived (delivery = imported, as far as known)
--   at_step         a step of the vendor's funnel. Its first event in a session is the landmark: what that event or an
--                   earlier one of the session says was known by then (ordered by occurred_at, event_id, event_uuid)
--   hold            facts that the compared sessions have in common: template_key, environment_name, entry_trigger_type,
--                   entry_date, entry_hour, or a claim path (meta_claims) as of the landmark. Each combination of their
--                   values is a stratum; NULL is a value like any other. [] holds nothing
--   min_count       fewest sessions with the fact, and fewest without it, for it to be tested
--   from_date, to_date  entry dates of the sessions, both inclusive
--   include_immature  false leaves out the sessions of days that are not mature (see fct_embed_funnel_daily) and counts
--                   them in immature_count
--
-- Sessions that skipped the step have no landmark, and are left out and counted (skipped_count). So are those that began, or
-- had submitted, only before it (left_out_count). session_count are the others, the same in each row.
--
-- A row is a fact, by its kind:
--
--   error           column factor has error code value, in the last report of errors by the landmark
--   claim           claim path factor has value, in the last claims by the landmark; of claims with at most 20 values. Without
--                   it are the sessions whose claims lack that path, too
--   environment, trigger, hour  of the entry: environment_name, entry_trigger_type, entry_hour (UTC) has value
--   again           file_uploaded or columns_mapped (factor) happened more than once by the landmark
--
-- exposed_ are the sessions with the fact, unexposed_ those without it, unknown_count those that do not say (no readable
-- report, no claims, no value): rate = converted_count / count, with its 95 % Wilson interval (_low, _high), over all strata.
--
--   odds_ratio      of the outcome, with the fact over without it, within the strata (Mantel-Haenszel), and its 95 % interval
--                   (Robins, Breslow and Greenland). NULL where it would divide by 0; no interval where it is 0
--   p, test         fisher, where hold is []: the two-sided exact test, the sum of all tables that are no more probable;
--                   else mantel_haenszel: the chi-square test without correction
--   q               Benjamini and Hochberg's, over all facts tested in this call: of the facts up to a q of 0.05, about one in
--                   twenty is chance
--   strata_count, strata_used_count  strata of the sessions that say; those of them with both outcomes, with and without it
--   breslow_day, breslow_day_p  do the strata share one odds ratio? The chi-square statistic without Tarone's correction, over
--                   the strata used, with one degree of freedom less; a small p says that they do not
--   inseparable_from  the one stratum of several in which all sessions with the fact lie, or all without it that can be
--                   compared: what goes with the fact may as well belong to that stratum
--
-- A fact that is not tested has no p and says why in not_tested_because: it is held, few sessions have it or lack it, or no
-- stratum can compare. Tested ones come first, in the order of p.
-- An argument that cannot be meant is an error, which suggests what may be.
create or replace macro drivers(
    outcome := 'submitted',
    at_step := 'columns_mapped',
    hold := ['template_key'],
    min_count := 25,
    from_date := null,
    to_date := null,
    include_immature := false
) as table
with

steps as (
    select unnest([/* funnel_steps */]) as label, generate_subscripts([/* funnel_steps */], 1) as step_number
),

/* bad_dates */,

facts_of_entry as (
    select unnest(['template_key', 'environment_name', 'entry_trigger_type', 'entry_date', 'entry_hour']) as fact
),

held as (
    select unnest(hold::varchar[]) as fact
),

-- A column of fct_embeds that is no fact of the entry may be the future.
unknown_holds as (
    select
        'hold is neither a fact of the entry nor a claim path in meta_claims: ' || held.fact
            || case
                when held.fact in ('customer_id', 'customer_name', 'plan')
                    then ', which are claims of the session''s end. Hold the path of the claim'
                when list_contains([/* breakdown_names */], held.fact)
                    then ', which may not be known by the landmark. Hold one of '
                        || (select string_agg(fact, ', ') from facts_of_entry) || ', or a claim path'
                else '. Did you mean ' || arg_max(named.fact, jaro_winkler_similarity(named.fact, held.fact)) || '?'
            end as problem
    from held
    cross join (from facts_of_entry union all select path from meta_claims) as named
    where held.fact is not null
        -- Before the first session nobody knows what claims there will be.
        and (exists (from fct_embeds) or exists (from meta_claims))
    group by held.fact
    having not bool_or(named.fact = held.fact)
),

problems as (
    select case
        when (select build_id from meta_build) <> /* build_id */
            then 'this drivers() belongs to another warehouse than the one in use. Run USE with the name of its database'
                || ' first, or connect to its file'
        when outcome is null or outcome not in ('submitted', 'delivered')
            then 'outcome is submitted or delivered, not ' || coalesce(outcome::varchar, 'NULL')
        when at_step is null then 'at_step is a step of the funnel, not NULL'
        when (select count(*) from steps where label = at_step) = 0
            then 'at_step is not a step of the funnel: ' || at_step || '. Did you mean '
                || (select arg_max(label, jaro_winkler_similarity(label, at_step)) from steps) || '?'
        when outcome = 'submitted' and at_step = (select arg_max(label, step_number) from steps)
            then 'at_step is the outcome: every session with an ' || at_step || ' has submitted. Ask of an earlier step, or'
                || ' for outcome := ''delivered'''
        when hold is null then 'hold is NULL: [] holds nothing'
        when (select count(*) from held where fact is null) > 0 then 'hold names a fact that is NULL'
        when min_count is null or min_count < 1
            then 'min_count is at least 1, not ' || coalesce(min_count::varchar, 'NULL')
        when include_immature is null then 'include_immature is true or false, not NULL'
        when (select count(*) from bad_dates) > 0 then (select min(problem) from bad_dates)
        when try_cast(from_date::varchar as date) > try_cast(to_date::varchar as date)
            then 'from_date, ' || from_date::varchar || ', is after to_date, ' || to_date::varchar
        else (select min(problem) from unknown_holds)
    end as problem
),

times as (
    select
        plausible_from, plausible_until,
        (data_through - to_microseconds((funnel_window_seconds * 1000000)::bigint) - interval 1 day)::date as mature_date
    from meta_build
),

-- The sessions that reached the step, whether they performed it or skipped it.
members as materialized (
    select
        embed_id, entry_at, template_key, environment_name, entry_trigger_type, entry_date,
        extract(hour from entry_at) as entry_hour,
        case
            when outcome = 'delivered' then coalesce(delivery = 'imported', false)
            else import_submitted_at is not null
        end as is_converted,
        include_immature or coalesce(entry_date <= mature_date, false) as is_counted
    from fct_embeds
    inner join steps on steps.label = furthest_step
    cross join times
    where step_number >= (select max(step_number) from steps where label = at_step)
        and entry_date is not null
        and (from_date is null or entry_date >= try_cast(from_date::varchar as date))
        and (to_date is null or entry_date <= try_cast(to_date::varchar as date))
),

landmark_times as (
    select embed_id, min(occurred_at) as landmark_at
    from stg_embed_events
    semi join (select embed_id from members where is_counted) using (embed_id)
    cross join times
    where event_type = at_step and occurred_at between plausible_from and plausible_until
    group by embed_id
),

-- Events at the landmark's own moment may come after it: past_steps counts the events of the step before each.
early_events as (
    select
        embed_id, event_uuid, event_type, landmark_at, claims,
        has_error_counts or has_unreadable_error_counts as is_report,
        has_unreadable_error_counts as is_unread,
        row_number() over in_order as position,
        count(*) filter (event_type = at_step) over in_order - (event_type = at_step)::integer as past_steps
    from stg_embed_events
    inner join landmark_times using (embed_id)
    cross join times
    where occurred_at between plausible_from and landmark_at
    window in_order as (
        partition by embed_id order by occurred_at, event_id nulls last, event_uuid rows unbounded preceding
    )
),

pasts as (
    select
        embed_id,
        any_value(landmark_at) as landmark_at,
        arg_max(claims, position) as claims,
        arg_max({'uuid': event_uuid, 'is_unread': is_unread}, position) filter (is_report) as report,
        count(*) filter (event_type = 'file_uploaded') as upload_count,
        count(*) filter (event_type = 'columns_mapped') as mapping_count,
        count(*) filter (event_type = 'import_submitted' and event_type <> at_step) as submission_count
    from early_events
    where past_steps = 0
    group by embed_id
),

-- DuckDB 1.1.3 forgets that a stored CTE is materialized, and makes it again wherever it is named. So this one is made five
-- times at most, those behind it are named once, and what is known of all rows of a kind comes from windows.
sessions as materialized (
    select
        is_converted, claims, report.uuid as report_uuid, upload_count, mapping_count,
        environment_name, entry_trigger_type, entry_hour,
        case
            when not is_counted then 'immature'
            when landmark_at is null then 'skipped'
            when entry_at > landmark_at or submission_count > 0 then 'left_out'
            else 'session'
        end as status,
        coalesce(not report.is_unread, false) as has_report,
        to_json(list_transform(
            hold::varchar[],
            lambda fact: case
                when fact = 'template_key' then template_key
                when fact = 'environment_name' then environment_name
                when fact = 'entry_trigger_type' then entry_trigger_type
                when fact = 'entry_date' then entry_date::varchar
                when fact = 'entry_hour' then entry_hour::varchar
                else claims ->> claim_pointer(fact)
            end
        ))::varchar as stratum
    from members
    left join pasts using (embed_id)
),

-- A claim with more values than that among some sessions has more among all. So ids are not counted to their end.
claim_paths as materialized (
    select
        path, claim_pointer(path) as pointer,
        count(distinct claims ->> claim_pointer(path)) <= 20 as has_few
    from (select claims from sessions where status = 'session' and claims is not null limit 256)
    cross join meta_claims
    where regexp_matches(json_types, 'string|number|boolean')
    group by path
),

-- By stratum: the sessions that have a fact, and, without a factor, those that say whether they have one of its kind.
cells as (
    select kind, factor, value, stratum, count(*) as n, count(*) filter (is_converted) as k
    from (
        select
            unnest([
                status, 'error', 'claim', 'environment', 'trigger', 'hour', 'again',
                'environment', 'trigger', 'hour', 'again', 'again'
            ]) as kind,
            unnest([
                null, null, null, null, null, null, null,
                'environment_name', 'entry_trigger_type', 'entry_hour', 'file_uploaded', 'columns_mapped'
            ]) as factor,
            unnest([
                null, null, null, null, null, null, null,
                environment_name, entry_trigger_type, entry_hour::varchar, 'true', 'true'
            ]) as value,
            unnest([
                true, has_report, claims is not null, environment_name is not null, entry_trigger_type is not null,
                true, true, environment_name is not null, entry_trigger_type is not null, true,
                upload_count > 1, mapping_count > 1
            ]) as is_so,
            status, stratum, is_converted
        from sessions
    )
    where is_so and (status = 'session' or kind = status)
    group by kind, factor, value, stratum
    union all
    select 'error', column_key, error_code, stratum, count(*), count(*) filter (is_converted)
    from stg_validation_errors
    inner join sessions on report_uuid = event_uuid
    where error_count > 0 and has_report and status = 'session'
    group by column_key, error_code, stratum
    union all
    select 'claim', path, value, stratum, count(value), count(*) filter (is_converted)
    from (
        select path, claims ->> pointer as value, stratum, is_converted
        from sessions
        cross join claim_paths
        where has_few and status = 'session' and claims is not null
    )
    group by path, value, stratum
    -- Not of the value itself: DuckDB would read it a second time, to ask before it groups.
    having count(value) > 0
    union all
    select 'claim', path, null, null, 0, 0
    from claim_paths
    where not has_few
    union all
    values
        ('again', 'file_uploaded', 'true', null, 0, 0), ('again', 'columns_mapped', 'true', null, 0, 0),
        ('error', null, null, null, 0, 0)
),

counted as (
    select
        *,
        sum(n) filter (factor is null) over of_stratum as stratum_n,
        sum(k) filter (factor is null) over of_stratum as stratum_k,
        coalesce(sum(n) filter (factor is null) over of_kind, 0) as kind_n,
        coalesce(sum(k) filter (factor is null) over of_kind, 0) as kind_k,
        count(*) filter (factor is null and n > 0) over of_kind as strata_count,
        coalesce(sum(n) filter (kind = 'session') over (), 0) as session_count,
        coalesce(sum(n) filter (kind = 'skipped') over (), 0) as skipped_count,
        coalesce(sum(n) filter (kind = 'left_out') over (), 0) as left_out_count,
        coalesce(sum(n) filter (kind = 'immature') over (), 0) as immature_count
    from cells
    window of_stratum as (partition by kind, stratum), of_kind as (partition by kind)
),

-- Of a fact in a stratum: converted and other sessions with it (a, b), and without it (c, d). A stratum in which no session
-- has it has no row, and adds nothing to the sums.
tables as (
    select
        kind, factor, value, stratum, kind_n, kind_k, strata_count,
        session_count, skipped_count, left_out_count, immature_count,
        k::double as a,
        (n - k)::double as b,
        (stratum_k - k)::double as c,
        (stratum_n - n - stratum_k + k)::double as d,
        stratum_n::double as t,
        a + b > 0 and c + d > 0 as has_both,
        has_both and a + c > 0 and b + d > 0 as is_used
    from counted
    where factor is not null or (kind = 'error' and kind_n = 0)
),

-- What a would be, were the odds ratio the pooled one with the same margins: a root of a quadratic, in the form that does not
-- subtract what is nearly equal. The odds ratio is mantel_haenszel(), which cannot be asked over a window.
fitted as (
    select
        *,
        sum(a * d / t) over of_fact / nullif(sum(b * c / t) over of_fact, 0) as odds_ratio,
        odds_ratio * (2 * a + b + c) + d - a as half,
        sqrt(half * half + 4 * (1 - odds_ratio) * odds_ratio * (a + b) * (a + c)) as root,
        case
            when not is_used or odds_ratio = 0 then null
            when half > 0 then 2 * odds_ratio * (a + b) * (a + c) / (half + root)
            else (root - half) / (2 * (1 - odds_ratio))
        end as fit
    from tables
    window of_fact as (partition by kind, factor, value)
),

pooled as (
    select
        kind, factor, value, kind_n, kind_k, strata_count,
        session_count, skipped_count, left_out_count, immature_count,
        sum(a) as a,
        sum(b) as b,
        kind_k - sum(a) as c,
        kind_n - kind_k - sum(b) as d,
        count(*) filter (has_both) as both_count,
        count(*) filter (is_used) as used_count,
        count(*) filter (a + b > 0) as exposed_strata_count,
        -- All strata but those in which every session has it.
        strata_count - count(*) filter (a + b > 0 and c + d = 0) as unexposed_strata_count,
        any_value(stratum) filter (a + b > 0) as exposed_stratum,
        any_value(stratum) filter (has_both) as unexposed_stratum,
        mantel_haenszel(a, b, c, d) as odds_ratio,
        mantel_haenszel_variance(a, b, c, d) as log_variance,
        sum(a - (a + b) * (a + c) / t) filter (is_used) as excess,
        sum((a + b) * (c + d) * (a + c) * (b + d) / (t * t * (t - 1))) filter (is_used) as excess_variance,
        sum(power(a - fit, 2) * (1 / fit + 1 / (a + b - fit) + 1 / (a + c - fit) + 1 / (d - a + fit))) as breslow_day
    from fitted
    group by
        kind, factor, value, kind_n, kind_k, strata_count, session_count, skipped_count, left_out_count, immature_count
),

candidates as (
    select
        * exclude (value),
        case when kind <> 'claim' or count(*) over (partition by kind, factor) <= 20 then value end as value,
        case
            when strata_count < 2 then null
            when exposed_strata_count = 1 then exposed_stratum
            when unexposed_strata_count = 1 then unexposed_stratum
        end as only_stratum,
        case
            when list_contains(hold::varchar[], factor) and case
                when kind = 'claim' then factor not in (from facts_of_entry)
                else kind in ('environment', 'trigger', 'hour')
            end then 'it is held'
            when kind = 'again' and factor = at_step then 'it happens only after the first ' || at_step
            when kind = 'claim' and (pooled.value is null or count(*) over (partition by kind, factor) > 20)
                then 'the claim has more than 20 values'
            when factor is null then 'no session has a readable report of errors by its first ' || at_step
            when a + b < min_count then 'fewer than ' || min_count || ' sessions with it: ' || (a + b)::bigint
            when c + d < min_count then 'fewer than ' || min_count || ' sessions without it: ' || (c + d)::bigint
            when both_count = 0 then 'no stratum has sessions with it and sessions without it'
            when used_count = 0 then 'no stratum with both has sessions of either outcome'
        end as not_tested_because
    from pooled
    -- One row of a claim with too many values.
    qualify kind <> 'claim'
        or count(*) over (partition by kind, factor) <= 20
        or row_number() over (partition by kind, factor) = 1
),

tested as (
    select
        *,
        case
            when not_tested_because is not null then null
            when len(hold) > 0 then chi_square_tail(excess * excess / excess_variance, 1)
            -- Of all tables x with these margins, those no more probable. Equally probable ones differ by roundings.
            else least(list_sum(list_transform(
                range(greatest(0, a - d)::bigint, least(a + b, a + c)::bigint + 1),
                lambda x: case
                    when lgamma(x + 1) + lgamma(a + b - x + 1) + lgamma(a + c - x + 1) + lgamma(d - a + x + 1)
                        < lgamma(a + 1) + lgamma(b + 1) + lgamma(c + 1) + lgamma(d + 1) - 1e-7
                        then 0
                    else exp(
                        lgamma(a + b + 1) - lgamma(x + 1) - lgamma(a + b - x + 1)
                        + lgamma(c + d + 1) - lgamma(a + c - x + 1) - lgamma(d - a + x + 1)
                        - lgamma(a + b + c + d + 1) + lgamma(a + c + 1) + lgamma(b + d + 1)
                    )
                end
            )), 1)
        end as p
    from candidates
),

corrected as (
    select
        *,
        p * count(p) over () / row_number() over (order by p nulls last) as p_by_place,
        row_number() over (order by p nulls last) as place
    from tested
),

fact_rows as (
    select
        kind, factor, value, not_tested_because,
        -- Unless its values are not counted.
        case when value is not null then a end as a,
        case when value is not null then b end as b,
        case when value is not null then c end as c,
        case when value is not null then d end as d,
        strata_count, used_count, p,
        case when p is not null then least(min(p_by_place) over (order by place desc rows unbounded preceding), 1) end as q,
        case when p is not null then odds_ratio end as ratio,
        log_variance,
        case when p is not null and used_count > 1 then breslow_day end as homogeneity,
        list_transform(from_json(only_stratum, '["VARCHAR"]'), lambda text: coalesce(text, 'NULL')) as only_values,
        session_count, skipped_count, left_out_count, immature_count
    from corrected
    -- A part of its own, so that it raises whether or not there are rows.
    union all
    select
        error('drivers: ' || problem), null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null
    from problems
    where problem is not null
)

select
    kind, factor, value, not_tested_because,
    (a + b)::bigint as exposed_count,
    a::bigint as exposed_converted_count,
    a / nullif(a + b, 0) as exposed_rate,
    wilson_low(a, a + b) as exposed_rate_low,
    wilson_high(a, a + b) as exposed_rate_high,
    (c + d)::bigint as unexposed_count,
    c::bigint as unexposed_converted_count,
    c / nullif(c + d, 0) as unexposed_rate,
    wilson_low(c, c + d) as unexposed_rate_low,
    wilson_high(c, c + d) as unexposed_rate_high,
    (session_count - a - b - c - d)::bigint as unknown_count,
    ratio as odds_ratio,
    odds_ratio_low(ratio, log_variance) as odds_ratio_low,
    odds_ratio_high(ratio, log_variance) as odds_ratio_high,
    case when p is not null then case when len(hold) = 0 then 'fisher' else 'mantel_haenszel' end end as test,
    p, q,
    strata_count,
    used_count as strata_used_count,
    homogeneity as breslow_day,
    chi_square_tail(homogeneity, used_count - 1) as breslow_day_p,
    array_to_string(
        list_transform(range(1, len(only_values) + 1), lambda i: (hold::varchar[])[i] || ' = ' || only_values[i]), ', '
    ) as inseparable_from,
    session_count::bigint as session_count,
    skipped_count::bigint as skipped_count,
    left_out_count::bigint as left_out_count,
    immature_count::bigint as immature_count
from fact_rows
order by p nulls last, kind, factor, value
