-- One embed session with at least one staged event: when each step happened, how it ended, and who it was.
-- Counts and times come from events alone; status and imported_row_count are what the API says.
-- The entry is the first embed_initialized, else the first event. Events are ordered by occurred_at, event_id, event_uuid.
-- Times, order, steps and outcome use only events with a plausible time (see meta_build); other counts use all.
-- A step is performed when its event was seen; skipped when a later step was performed without it, in any order, since the
-- vendor skips panes and may then send no event; reached when performed or skipped. Every session reaches step 1.
-- A chain does steps in order within funnel_window, from an embed_initialized on. It can skip only optional steps.
-- The vendor counts errors at columns_mapped; other events may report them, too. So last_error_count is what was left when
-- errors were last counted, and what was left at the end only where is_recounted.
-- After these columns come the claim columns (claim_*) of the latest event that has claims.
-- grain: embed_id
-- refresh: embed_id
-- time: plausible_until reaches stg_embed_events.occurred_at
-- time: data_through reaches fct_embeds.last_event_at + idle_after
with recursive parameters as (
    select
        data_through, plausible_from, plausible_until, idle_after, funnel_window,
        customer_claim, customer_id_claim, plan_claim
    from source.parameters
),

-- Of a step: its place in a set of steps (step_bit), how many required steps come before it, and which.
steps as (
    select
        step_number, step, is_optional, 1::bigint << (step_number - 1) as step_bit,
        count(*) filter (not is_optional) over steps_before as required_before,
        coalesce(sum(step_bit) filter (not is_optional) over steps_before, 0)::bigint as required_steps
    from source.funnel_steps
    window steps_before as (order by step_number rows between unbounded preceding and 1 preceding)
),

-- An event whose time is not plausible has no time, and a moment before all others. A moment is in microseconds.
timed_events as not materialized (
    select
        embed_id, event_uuid, event_id, event_type, trigger_type, environment_name, template_key, import_type,
        has_error_counts or has_unreadable_error_counts as is_report,
        has_unreadable_error_counts as is_unread,
        event_type in (
            'file_uploaded', 'header_selected', 'columns_mapped', 'sheet_operation_performed'
        ) as is_sheet_change,
        claims is not null as has_claims,
        case when occurred_at between plausible_from and plausible_until then occurred_at end as timed_at,
        coalesce(epoch_us(timed_at), 0) as moment
    from stg_embed_events
    cross join parameters
),

-- Few events share a moment with another of their session. Only these are sorted, and the others have no tie.
ties as materialized (
    select
        embed_id, moment, event_uuid,
        row_number() over (partition by embed_id, moment order by event_id nulls last, event_uuid) as tie
    from timed_events
    semi join (select embed_id, moment from timed_events group by all having count(*) > 1) using (embed_id, moment)
),

-- The order of a session's events as one integer. No moment has 2^40 events, and positions stay below 2^104.
events as not materialized (
    select *, (moment::hugeint << 40) + coalesce(tie, 0) as position
    from timed_events
    left join ties using (embed_id, moment, event_uuid)
),

-- The last of all events, and the last one with claims, is one without a plausible time only where no other is.
sessions as materialized (
    select
        embed_id,
        count(*) as event_count,
        coalesce(bit_or(step_bit) filter (timed_at is not null), 1) as performed_steps,
        arg_min(
            {'template_key': template_key, 'environment_name': environment_name, 'trigger_type': trigger_type},
            case when timed_at is null then 2 when event_type = 'embed_initialized' then 0 else 1 end
            * (1::hugeint << 104) + position
        ) as entry,
        arg_max(event_type, position) as last_event_type,
        arg_min_null(import_type, position) filter (
            event_type = 'import_submitted' and timed_at is not null
        ) as import_type,
        arg_max(event_uuid, position) filter (has_claims) as claims_uuid,
        arg_min_null(case when not is_unread then event_uuid end, position) filter (
            is_report and timed_at is not null
        ) as first_counts_uuid,
        arg_max_null(case when not is_unread then event_uuid end, position) filter (
            is_report and timed_at is not null
        ) as last_counts_uuid,
        arg_max(event_type, position) filter (is_report and timed_at is not null) as last_counted_event_type,
        max(timed_at) filter (is_report) as last_counted_at,
        max(position) filter (is_report and timed_at is not null) as last_counts_position,
        max(position) filter (is_sheet_change and timed_at is not null) as last_change_position,
        min(timed_at) filter (event_type = 'embed_initialized') as initialized_at,
        min(timed_at) filter (event_type = 'file_uploaded') as file_uploaded_at,
        min(timed_at) filter (event_type = 'header_selected') as header_selected_at,
        min(timed_at) filter (event_type = 'columns_mapped') as columns_mapped_at,
        min(timed_at) filter (event_type = 'sheet_operation_performed') as first_operation_at,
        min(timed_at) filter (event_type = 'import_submitted') as import_submitted_at,
        min(timed_at) as first_event_at,
        max(timed_at) as last_event_at,
        coalesce(initialized_at, first_event_at) as entry_at,
        count(*) filter (event_type = 'file_uploaded') as upload_count,
        count(*) filter (event_type = 'columns_mapped') as mapping_count,
        count(*) filter (event_type = 'sheet_operation_performed') as operation_count,
        count(*) filter (event_type = 'embed_resumed') as resumed_count,
        count(*) filter (event_type = 'embed_closed') as closed_count
    from events
    left join steps on step = event_type
    group by embed_id
),

-- What follows from the set of performed steps alone. There are few such sets.
step_sets as (
    select
        performed_steps,
        arg_max(step, step_number) filter (is_performed) as furthest_step,
        coalesce(
            list(step order by step_number) filter (not is_performed and step_bit < performed_steps), []
        ) as skipped_steps,
        max(step_number) filter (
            is_performed and performed_steps & required_steps = required_steps
        ) as reachable_step_count
    from (
        select *, performed_steps & step_bit > 0 as is_performed
        from (select distinct performed_steps from sessions)
        cross join steps
    )
    group by performed_steps
),

-- Only where the entry is not the first event do steps from the entry on differ from steps at all.
steps_from_entry as (
    select
        embed_id,
        min(timed_at) filter (event_type = 'file_uploaded') as uploaded_from_entry_at,
        min(timed_at) filter (event_type = 'header_selected') as selected_from_entry_at,
        min(timed_at) filter (event_type = 'columns_mapped') as mapped_from_entry_at,
        min(timed_at) filter (event_type = 'import_submitted') as submitted_from_entry_at
    from timed_events
    inner join sessions using (embed_id)
    where timed_at >= entry_at and entry_at > first_event_at
    group by embed_id
),

operations_after_counts as (
    select embed_id, count(*) as operations_after_count
    from events
    inner join sessions using (embed_id)
    where event_type = 'sheet_operation_performed' and timed_at is not null and position > last_counts_position
    group by embed_id
),

-- In most sessions the first events of the steps rise, all within funnel_window. These events are a chain then, and none
-- gets further, so the set of steps tells how far. It holds for the steps that are named here, in this order.
straight_sessions as (
    select embed_id
    from sessions
    cross join parameters
    where
        coalesce(file_uploaded_at > initialized_at, true)
        and coalesce(header_selected_at > greatest(initialized_at, file_uploaded_at), true)
        and coalesce(columns_mapped_at > greatest(initialized_at, file_uploaded_at, header_selected_at), true)
        and coalesce(
            import_submitted_at > greatest(initialized_at, file_uploaded_at, header_selected_at, columns_mapped_at), true
        )
        and greatest(
            initialized_at, file_uploaded_at, header_selected_at, columns_mapped_at, import_submitted_at
        ) <= initialized_at + funnel_window
        and (select list(step order by step_number) from steps)
        = ['embed_initialized', 'file_uploaded', 'header_selected', 'columns_mapped', 'import_submitted']
),

other_step_events as (
    select embed_id, position, step_number, is_optional, required_before, timed_at
    from events
    inner join steps on step = event_type
    semi join (
        select embed_id from sessions anti join straight_sessions using (embed_id) where initialized_at is not null
    ) using (embed_id)
    where timed_at is not null
),

-- How far the best chain gets in the other sessions. Optional steps do not hold it up: an event of any step can end a
-- chain once the required steps before it were done in order. started_at is the latest start of any chain that did
-- required_count of them at or before the event. Of two such chains, the one that started later has more of the window
-- left, so only that one is kept.
-- Each round takes the next required step, except the last, and drops the events that cannot follow it.
chains as (
    select
        embed_id, position, step_number, is_optional, required_before, timed_at,
        1 as required_count,
        max(timed_at) filter (step_number = 1) over so_far as started_at
    from other_step_events
    window so_far as (partition by embed_id order by position rows unbounded preceding)
    union all
    select
        embed_id, position, step_number, is_optional, required_before, timed_at,
        required_count + 1,
        max(started_at) filter (
            not is_optional and required_before = required_count and timed_at <= started_at + funnel_window
        ) over so_far
    from chains
    cross join parameters
    where started_at is not null
        and required_before >= required_count
        and required_count < (select max(required_before) from steps)
    window so_far as (partition by embed_id order by position rows unbounded preceding)
),

furthest_chains as (
    select
        embed_id,
        max(step_number) filter (
            step_number = 1 or (required_before = required_count and timed_at <= started_at + funnel_window)
        ) as chain_step_count
    from chains
    cross join parameters
    where started_at is not null
    group by embed_id
),

-- Only nonsense in a payload gives a total beyond 64 bits. It is capped there, so that it does not stop the build.
error_totals as (
    select
        embed_id,
        least(coalesce(sum(error_count) filter (event_uuid = first_counts_uuid), 0), 9223372036854775807)::bigint as first_total,
        least(coalesce(sum(error_count) filter (event_uuid = last_counts_uuid), 0), 9223372036854775807)::bigint as last_total
    from stg_validation_errors
    inner join sessions using (embed_id)
    group by embed_id
),

listed as (
    select embed_id, stg_embeds.status, imported_row_count, fetched_at, statuses.delivery
    from stg_embeds
    left join source.embed_statuses as statuses on spelling = stg_embeds.status
),

-- Everything but the claims, which are wide: they are joined once.
facts as materialized (
    select
        *,
        -- An older answer than the first import_submitted cannot know of it.
        import_submitted_at is null or fetched_at >= import_submitted_at as is_answer
    from sessions
    inner join step_sets using (performed_steps)
    left join steps_from_entry using (embed_id)
    left join operations_after_counts using (embed_id)
    left join furthest_chains using (embed_id)
    left join error_totals using (embed_id)
    left join listed using (embed_id)
),

latest_claims as (
    select
        embed_id,
        claims ->> '$.user_id' as user_id,
        coalesce(claim_text(claims, customer_id_claim), claim_text(claims, customer_claim)) as customer_id,
        claim_text(claims, customer_claim) as customer_name,
        claim_text(claims, plan_claim) as plan,
        claims,
        columns('^claim_')
    from stg_embed_events
    semi join (select embed_id, claims_uuid as event_uuid from sessions) using (embed_id, event_uuid)
    cross join parameters
)

select
    facts.embed_id, -- the embed session; not null
    entry.environment_name, -- environment of the entry event
    entry.template_key, -- template of the entry event
    facts.status, -- the session's status when the API last listed it
    facts.imported_row_count, -- rows imported, as the API last reported
    latest_claims.user_id, -- the user_id claim of the latest event that has claims
    latest_claims.customer_id, -- the customer's id in those claims: the claim that EMBED_ANALYTICS_CUSTOMER_ID_CLAIM names, else customer_name. The claims policy applied before: what it hashes is a hash here, what it drops is NULL
    latest_claims.customer_name, -- the customer's name there: the claim that EMBED_ANALYTICS_CUSTOMER_CLAIM names, after the claims policy; NULL where the setting or the claim is missing
    latest_claims.plan, -- the customer's plan there: the claim that EMBED_ANALYTICS_PLAN_CLAIM names, after the claims policy; NULL where the setting or the claim is missing
    facts.entry_at, -- when the session began: its first embed_initialized, else its first event; NULL where no event has a plausible time (UTC)
    facts.entry_at::date as entry_date, -- UTC date of entry_at: the cohort
    entry.trigger_type as entry_trigger_type, -- who began it: user, api or automation
    initialized_at is not null as is_entry_observed, -- an embed_initialized was seen; not null
    facts.initialized_at, -- first embed_initialized (UTC)
    facts.file_uploaded_at, -- first file_uploaded (UTC)
    facts.header_selected_at, -- first header_selected (UTC)
    facts.columns_mapped_at, -- first columns_mapped (UTC)
    facts.first_operation_at, -- first sheet_operation_performed (UTC)
    facts.import_submitted_at, -- first import_submitted (UTC)
    case when is_answer then facts.delivery end as delivery, -- what became of the import by the API's list: imported, pending or failed; NULL while it has not said so since the first import_submitted, never a sign that nothing arrived. Without an import_submitted the status alone decides
    case when is_answer and facts.delivery is not null then fetched_at end as delivery_at, -- when the list said so: the fetch of that answer, which later lists repeat (UTC)
    facts.last_event_at, -- last event of any type; NULL where no event has a plausible time (UTC)
    facts.last_event_type, -- type of the last event; not null
    facts.event_count, -- events of any type, with or without a plausible time; not null
    facts.upload_count, -- file_uploaded events
    facts.mapping_count, -- columns_mapped events
    facts.operation_count, -- sheet_operation_performed events
    facts.resumed_count, -- embed_resumed events
    facts.closed_count, -- embed_closed events
    facts.import_type, -- how the first import_submitted was made
    furthest_step, -- the furthest funnel step that was performed; the first one where none was; not null
    skipped_steps, -- the steps before furthest_step whose event was not seen, in the order of the funnel; not null
    case
        when facts.import_submitted_at is not null then 'submitted'
        when facts.last_event_at is null then 'unknown'
        when data_through is null or facts.last_event_at >= data_through - idle_after then 'open'
        when facts.last_event_type = 'embed_closed' then 'closed'
        else 'silent'
    end as outcome, -- submitted; else unknown (no event has a plausible time); else open (an event within idle_after of data_through); else closed (the last event is embed_closed); else silent (the tab was shut); not null
    date_diff('microsecond', entry_at, if(entry_at = first_event_at, file_uploaded_at, uploaded_from_entry_at)) / 1e6 as seconds_to_upload, -- from entry to the first file_uploaded at or after it
    date_diff('microsecond', entry_at, if(entry_at = first_event_at, header_selected_at, selected_from_entry_at)) / 1e6 as seconds_to_header, -- from entry to the first header_selected at or after it
    date_diff('microsecond', entry_at, if(entry_at = first_event_at, columns_mapped_at, mapped_from_entry_at)) / 1e6 as seconds_to_mapping, -- from entry to the first columns_mapped at or after it
    date_diff('microsecond', entry_at, if(entry_at = first_event_at, import_submitted_at, submitted_from_entry_at)) / 1e6 as seconds_to_submit, -- from entry to the first import_submitted at or after it
    coalesce(chain_step_count, if(initialized_at is not null, reachable_step_count, 0), 0)::bigint as in_order_step_count, -- number of the furthest step that a chain performs: in order within funnel_window, with no step skipped but optional ones; 0 where no embed_initialized was seen; not null
    case when first_counts_uuid is not null then coalesce(first_total, 0) end as first_error_count, -- validation errors when they were first counted, as a rule at columns_mapped; NULL where no event reports them, and where some of that report cannot be read
    case when last_counts_uuid is not null then coalesce(last_total, 0) end as last_error_count, -- validation errors when they were last counted, at last_counted_at; NULL where no event reports them, and where some of that report cannot be read
    facts.last_counted_at, -- when errors were last counted: the last event with validation error counts, readable or not; NULL where none has them (UTC)
    facts.last_counted_event_type, -- type of that event
    case when last_counts_position is not null then coalesce(operations_after_count, 0) end as operations_after_count, -- sheet operations after it: work that last_error_count does not know of
    last_counts_position >= coalesce(last_change_position, 0) as is_recounted, -- errors were counted at or after the last change of the sheet (a file_uploaded, header_selected, columns_mapped or sheet_operation_performed), so last_error_count still holds; NULL where they never were
    latest_claims.claims, -- JWT payload of the latest event that has one (JSON)
    columns('^claim_')
from facts
cross join parameters
left join latest_claims using (embed_id)
order by facts.embed_id
