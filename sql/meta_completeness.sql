-- One UTC day of one environment, and whether it is known that every event of the source is held.
-- A day is proven by a reconcile that began after the day's end, ended before whole_until, found the embeds listed and answered,
-- every one of them (is_complete, failed_count = 0), is known to see the environment (ONESCHEMA_ENVIRONMENT, or an event of it in
-- its answers), whose clock was right (no sweep before it says that it began later), and that found no event of the day that
-- earlier answers should have had (unheld_count). What such a reconcile finds, it lands: afterwards all is held that the source had.
-- If any reconcile since has found such an event after all, the day is proven no more, until another one proves it again.
-- A gap is a reason to think that events of the day are missing. Kinds: sessions that were due and had no answer for longer than
-- the retention period; no complete sweep for longer than it; a sweep's clock that was wrong; webhooks that were refused, or whose
-- segment of the journal is damaged, up to an hour before and after (meta_webhook_gaps); damaged files of raw; fewer events in
-- the partition of that date than a reconcile found. Each counts for every environment, since nobody knows whose events are missing.
-- A gap is closed, and no longer known, once a reconcile has proven the day that began after the gap came up: the event that
-- it stood for would have been in its answers. A damaged file and events that are gone here close when they are back, since nobody
-- knows whether that reconcile had seen them here.
-- verdict: complete where the day is proven and no gap is open; incomplete where a gap is open; else complete as far as the
-- source can say, which claims nothing but that no gap is known. It never speaks of what the source deleted before the day's
-- proof, such as an embed deleted by hand, nor of events that the source itself never had.
-- Every day is listed from an environment's first to the latest, for the 100 environments with the most events; of others the
-- days that have events.
-- grain: event_date, environment_name
-- refresh: whole
with parameters as (
    select built_at, data_through, plausible_from, plausible_until, oneschema_retention as retention
    from source.parameters
    cross join source.build
),

-- An environment is a name behind a sign here, and nothing where it is not known: so joins find that one, too.
held as (
    select
        event_date, coalesce('=' || environment_name, '') as environment,
        sum(event_count)::bigint as held_count,
        sum(agreed_count)::bigint as agreed_count
    from fct_events_daily
    group by all
),

recorded as (
    select
        sweep_id, kind, started_at, coalesce(finished_at, started_at) as finished_at, is_complete,
        coalesce(failed_count, 0) as failed_count, environment_name, unasked_embed_count, first_loss_at,
        unseen_embed_count, unseen_from, unseen_until, clock_ahead_sweeps, coverage_by_environment, retention, built_at
    from meta_sweeps
    cross join parameters
    where started_at <= built_at
),

ahead as (
    select distinct unnest(json_extract_string(clock_ahead_sweeps, '$[*]')) as sweep_id
    from recorded
    where clock_ahead_sweeps is not null
),

sweeps as (
    select
        recorded.*,
        ahead.sweep_id is null and clock_ahead_sweeps is null and finished_at >= started_at as is_clock_right
    from recorded
    left join ahead using (sweep_id)
),

reconciles as (
    select
        sweep_id, started_at, finished_at, is_complete, failed_count, is_clock_right,
        '=' || environment_name as environment, coverage_by_environment
    from sweeps
    where kind = 'reconcile'
),

found as materialized (
    select
        sweep_id, started_at, is_complete, is_clock_right,
        try_cast(item ->> '$.event_date' as date) as event_date,
        coalesce('=' || (item ->> '$.environment_name'), '') as environment,
        (item ->> '$.source_count')::bigint as source_count,
        (item ->> '$.unheld_count')::bigint as unheld_count
    from (
        select
            sweep_id, started_at, is_complete, is_clock_right,
            unnest(json_extract(coverage_by_environment, '$[*]')) as item
        from reconciles
    )
),

seen_environments as (
    select sweep_id, environment from found
    union
    select sweep_id, environment from reconciles where environment is not null and coverage_by_environment is not null
),

known_days as (
    select event_date, environment, held_count from held
    union all
    select event_date, environment, 0
    from found
    cross join parameters
    where event_date between plausible_from::date and plausible_until::date
),

environments as (
    select environment, min(event_date) as first_date, max(event_date) as last_date
    from known_days
    group by environment
    qualify row_number() over (order by sum(held_count) desc, environment) <= 100
),

days as (
    select
        environment,
        unnest(generate_series(first_date, greatest(last_date, built_at::date), interval 1 day))::date as event_date
    from environments
    cross join parameters
    union
    select environment, event_date from known_days
),

windows as (
    select
        environment, event_date, event_date + interval 1 day as ends_at,
        event_date + retention as whole_until,
        event_date + interval 1 day + retention as horizon_at,
        retention, coalesce(data_through, built_at) as now_at
    from days
    cross join parameters
),

-- The latest complete reconcile that is known to see the environment.
latest as (
    select
        seen_environments.environment, max_by(sweep_id, (started_at, sweep_id)) as sweep_id,
        max(started_at) as reconciled_at
    from reconciles
    inner join seen_environments using (sweep_id)
    where is_complete and is_clock_right
    group by seen_environments.environment
),

unheld as (
    select sweep_id, started_at, event_date, environment, unheld_count from found where unheld_count > 0
),

-- What keeps each reconcile of a day's window from proving the day; NULL: nothing does.
candidates as (
    select
        windows.event_date, windows.environment, reconciles.sweep_id, reconciles.started_at,
        case
            when not is_clock_right then 'had a wrong clock, or one that was set back'
            when not is_complete then 'broke off'
            when failed_count > 0 then format('did not get everything (failures in meta_sweeps: {})', failed_count)
            when coverage_by_environment is null then 'was one of an older version, which did not count by environment'
            when seen.sweep_id is null then 'is not known to have seen this environment'
            when finished_at > whole_until then 'ended after the first events of the day could be deleted'
            when unheld_count > 0
                then format('found events that earlier answers should have had ({}), and landed them', unheld_count)
        end as objection
    from windows
    inner join reconciles on reconciles.started_at >= ends_at and reconciles.started_at < whole_until
    left join seen_environments as seen
        on seen.sweep_id = reconciles.sweep_id and seen.environment = windows.environment
    left join unheld
        on unheld.sweep_id = reconciles.sweep_id
        and unheld.event_date = windows.event_date
        and unheld.environment = windows.environment
),

attempts as (
    select
        event_date, environment,
        max(started_at) filter (objection is null) as proven_at,
        max(started_at) as tried_at,
        max_by(objection, (started_at, sweep_id)) filter (objection is not null) as objection
    from candidates
    group by event_date, environment
),

contradictions as (
    select event_date, environment, max(started_at) as unheld_at from unheld group by event_date, environment
),

proofs as (
    select
        event_date, environment, tried_at, objection, unheld_at,
        case when unheld_at >= proven_at then null else proven_at end as proven_at,
        unheld_at >= proven_at as is_contradicted
    from attempts
    left join contradictions using (event_date, environment)
),

complete_sweeps as (
    select
        started_at, retention,
        lead(started_at, 1, built_at) over (order by started_at, sweep_id) as next_at
    from sweeps
    where is_complete and is_clock_right
),

unanswered as (
    select first_loss_at - retention as gap_from, finished_at - retention as gap_until, unasked_embed_count as embed_count
    from (
        select
            first_loss_at, retention, unasked_embed_count,
            case
                when row_number() over (order by started_at desc, sweep_id desc) = 1
                    then greatest(finished_at, built_at)
                else finished_at
            end as finished_at
        from sweeps
    )
    where unasked_embed_count > 0 and finished_at > first_loss_at
    union all
    select unseen_from, unseen_until, unseen_embed_count from sweeps where unseen_embed_count > 0
),

source_totals as (
    select event_date, max(source_count) as source_count
    from (select sweep_id, event_date, sum(source_count) as source_count from found group by sweep_id, event_date)
    group by event_date
),

lake_days as (
    select lake_partition, event_count + quarantined_count as held_count from stg_lake_days
),

pushed as (
    select
        unnest(list_distinct([(began_at - interval 1 hour)::date, (began_at + interval 59 minute)::date])) as event_date,
        began_at, reason, refused_count
    from meta_webhook_gaps
),

-- Each gap with its days, and from when on a reconcile that proves a day closes it. What no answer had in time, a reconcile in
-- time did have, whenever it is that this was noticed.
gaps as (
    select
        'sessions without an answer' as kind, gap_from::date as first_date, gap_until::date as last_date,
        '-infinity'::timestamp as closes_after,
        format('sessions had no answer for longer than the retention period ({})', max(embed_count)) as gap
    from unanswered
    group by gap_from::date, gap_until::date
    union all
    select
        'no sweep', started_at::date, (next_at - retention)::date, '-infinity'::timestamp,
        format(
            'no sweep was complete from {} to {}, which is longer than the retention period',
            strftime(started_at, '%Y-%m-%d %H:%M'), strftime(next_at, '%Y-%m-%d')
        )
    from complete_sweeps
    where next_at - retention > started_at
    union all
    select
        'clock',
        coalesce(
            (
                select max(earlier.started_at)
                from sweeps as earlier
                where earlier.is_clock_right and earlier.started_at < stepped.started_at
            ),
            started_at
        )::date,
        started_at::date, started_at,
        format('a clock was wrong before the sweep of {}', strftime(started_at, '%Y-%m-%d %H:%M'))
    from sweeps as stepped
    where clock_ahead_sweeps is not null
    union all
    select
        'damaged journal', event_date, event_date, began_at + interval 1 hour, 'a segment of the webhook journal is damaged'
    from pushed
    where reason = 'damaged'
    union all
    select
        'refused webhooks', event_date, event_date, max(began_at) + interval 1 hour,
        format('webhooks were refused ({})', string_agg(format('{}: {}', reason, refused_count), ', ' order by reason))
    from (
        select event_date, reason, max(began_at) as began_at, sum(refused_count)::bigint as refused_count
        from pushed
        where reason <> 'damaged'
        group by event_date, reason
    )
    group by event_date
    union all
    select
        'damaged files', try_cast(lake_partition as date), try_cast(lake_partition as date), 'infinity'::timestamp,
        format('files of raw are damaged ({})', count(*))
    from source.damaged_raw_files
    group by lake_partition
    union all
    select
        'gone', event_date, event_date, 'infinity'::timestamp,
        format('events that a reconcile found are not held ({})', source_count - coalesce(held_count, 0))
    from source_totals
    left join lake_days on lake_partition = event_date::varchar
    where source_count > coalesce(held_count, 0)
),

gap_days as (
    select event_date, kind, max(closes_after) as closes_after, max_by(gap, (closes_after, gap)) as gap
    from (
        select
            kind, closes_after, gap,
            unnest(
                generate_series(
                    greatest(first_date, plausible_from::date), least(last_date, built_at::date), interval 1 day
                )
            )::date as event_date
        from gaps
        cross join parameters
        where first_date is not null and last_date is not null
    )
    group by event_date, kind
),

known_gaps as (
    select
        event_date, environment,
        count(*) filter (proven_at >= closes_after) as closed_gap_count,
        count(*) filter ((proven_at >= closes_after) is not true) as gap_count,
        string_agg(gap, '; ' order by kind) filter ((proven_at >= closes_after) is not true) as gaps
    from days
    inner join gap_days using (event_date)
    left join proofs using (event_date, environment)
    group by event_date, environment
),

joined as (
    select
        windows.event_date, case when windows.environment <> '' then windows.environment[2:] end as environment_name,
        retention, ends_at, whole_until, horizon_at, now_at,
        coalesce(held_count, 0) as held_count, coalesce(agreed_count, 0) as agreed_count,
        coalesce(gap_count, 0) as gap_count, coalesce(closed_gap_count, 0) as closed_gap_count, gaps,
        proven_at, is_contradicted, unheld_at, tried_at, objection,
        case when latest.reconciled_at >= windows.event_date then latest.reconciled_at end as reconciled_at,
        coalesce(found.source_count, 0) as source_count, coalesce(found.unheld_count, 0) as unheld_count
    from windows
    left join held using (event_date, environment)
    left join proofs using (event_date, environment)
    left join known_gaps using (event_date, environment)
    left join latest using (environment)
    left join found
        on found.sweep_id = latest.sweep_id
        and found.event_date = windows.event_date
        and found.environment = windows.environment
)

select
    event_date, -- the day (UTC); not null
    environment_name, -- the environment; NULL for events whose environment is not known
    case
        when gap_count > 0 then 'incomplete'
        when proven_at is not null then 'complete'
        else 'complete as far as the source can say'
    end as verdict, -- complete, incomplete, or complete as far as the source can say: see above; not null
    case
        when gap_count > 0 then format('Events may be missing: {}.', gaps)
        when proven_at is not null
            then format(
                'The reconcile of {} UTC had an answer of every listed session while the source still had the whole day, and '
                'all that was in them is held.', strftime(proven_at, '%Y-%m-%d %H:%M')
            )
        when retention is null
            then 'No retention period is set (ONESCHEMA_RETENTION_DAYS), so nobody can say whether events were deleted '
                'before a reconcile asked.'
        when now_at < ends_at then 'The data ends before the day does.'
        when is_contradicted
            then format(
                'The reconcile of {} UTC found events that earlier answers should have had, after the day was proven, and '
                'landed them.', strftime(unheld_at, '%Y-%m-%d %H:%M')
            )
        when objection is not null
            then format('The reconcile of {} UTC {}.', strftime(tried_at, '%Y-%m-%d %H:%M'), objection)
        when now_at < whole_until then 'No reconcile has asked since the day ended.'
        else 'No reconcile asked after the day and before its first events could be deleted.'
    end as reason, -- why, in a sentence; not null
    case when reconciled_at is not null then source_count end as source_count, -- events that the latest complete reconcile found at the source, by the folder of raw; what the source had deleted by then is not among them; NULL where none has asked since the day began
    case when reconciled_at is not null then unheld_count end as unheld_count, -- of these, events that earlier answers should have had; it landed them
    reconciled_at, -- start of that reconcile (UTC)
    held_count, -- events in stg_embed_events; not null
    agreed_count, -- of these, events that both the API and a webhook delivered; not null
    gap_count, -- kinds of known gaps that are open; not null
    gaps, -- these in words; NULL where there is none
    closed_gap_count, -- kinds of gaps that a reconcile has closed; not null
    whole_until, -- until when a reconcile can prove the day: then its first events are deleted (UTC); NULL where no retention period is set
    horizon_at, -- from when on the source has nothing of the day: its end and the retention period (UTC); NULL where no period is set
    proven_at, -- start of the latest reconcile that proves the day (UTC); NULL where none does
from joined
order by event_date, environment_name
