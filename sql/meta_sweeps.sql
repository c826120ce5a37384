-- One sweep of the API, even if it found nothing.
-- grain: sweep_id
-- refresh: merge
with sweeps as (
    select * from source.sweeps
),

ranked as (
    select
        *,
        row_number() over (
            -- Of reports that tie in both times, any, but always the same one.
            partition by sweep_id order by finished_at desc nulls last, started_at desc nulls last, sweeps desc
        ) as recency
    from sweeps
)

select
    sweep_id, -- identity of the sweep; sorts by start; not null
    kind, -- refresh, backfill or reconcile
    started_at, -- start (UTC); not null
    finished_at, -- end (UTC)
    is_complete, -- the embeds were listed and every due one was asked; some may have failed; not null
    listed_count, -- embeds listed
    list_total_count, -- the total of embeds that the list itself gives; NULL where it gives none
    new_embed_count, -- embeds not known before
    due_count, -- embeds due
    fetched_count, -- embeds whose events were fetched
    gone_count, -- embeds answered with 404
    failed_count, -- embeds that failed
    delivered_event_count, -- events in the answers
    landed_event_count, -- events that were new or changed, and landed in raw
    request_count, -- HTTP requests sent, retries included
    failures, -- JSON array of the embeds that failed and why
    unasked_embed_count, -- embeds without an answer for half the retention period; NULL where the period is not known
    first_loss_at, -- when the first of those could lose an event to retention (UTC)
    coverage, -- reconcile only: JSON array that compares what the API holds with what is held here, by event date
    environment_name, -- ONESCHEMA_ENVIRONMENT of the sweep: the environment of its key's embeds; NULL where it is not set
    unseen_embed_count, -- embeds that were due and had no answer for longer than the retention period, until this sweep; NULL where the period is not known
    unseen_from, -- from when on events of these happened that could be deleted before an answer had them (UTC)
    unseen_until, -- until when (UTC)
    clock_ahead_sweeps, -- JSON array of the sweeps before this one that say they began later: a clock was wrong; NULL where there are none
    coverage_by_environment, -- reconcile only: JSON array with the events in its answers by event date and environment; NULL where they were not counted so
from ranked
where recency = 1
