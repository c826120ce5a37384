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

steps as (
    select
        step_number, step, is_optional,
        count(*) filter (not is_optional) over (order by step_number) - (not is_optional)::bigint as required_before
    from source.funnel_steps
),

-- An event whose time is not plausible sorts after the others and has no time.
timed_events as (
    select
        embed_id, event_uuid, event_id, event_type, trigger_type, environment_name, template_key, import_type,
        has_error_counts or has_unreadable_error_counts as is_report,
        has_unreadable_error_counts as is_unread,
        event_type in (
            'file_uploaded', 'header_selected', 'columns_mapped', 'sheet_operation_performed'
        ) as is_sheet_change,
        claims is not null as has_claims,
        case when occurred_at between plausible_from and plausible_until then occurred_at end as occurred_at
    from stg_embed_events
    cross join parameters
),

events as (
    select
        *,
        row_number() over (
            partition by embed_id order by occurred_at nulls last, event_id nulls last, event_uuid
        ) as event_number
    from timed_events
),

step_events as (
    select embed_id, event_number, step_number, is_optional, required_before, occurred_at
    from events
    inner join steps on step = event_type
    where occurred_at is not null
),

sessions as (
    select
        embed_id,
        count(*) as event_count,
        -- In a session without any plausible time, the event that sorts last.
        coalesce(nullif(count(occurred_at), 0), event_count) as last_number,
        min(event_number) filter (event_type = 'embed_initialized' and occurred_at is not null) as initialized_number,
        coalesce(initialized_number, 1) as entry_number,
        min(event_number) filter (event_type = 'import_submitted' and occurred_at is not null) as submitted_number,
        coalesce(
            max(event_number) filter (has_claims and occurred_at is not null), max(event_number) filter (has_claims)
        ) as claims_number,
        min(event_number) filter (is_report and occurred_at is not null) as first_counts_number,
        max(event_number) filter (is_report and occurred_at is not null) as last_counts_number,
        max(event_number) filter (is_sheet_change and occurred_at is not null) as last_change_number,
        min(occurred_at) filter (event_type = 'embed_initialized') as initialized_at,
        min(occurred_at) filter (event_type = 'file_uploaded') as file_uploaded_at,
        min(occurred_at) filter (event_type = 'header_selected') as header_selected_at,
        min(occurred_at) filter (event_type = 'columns_mapped') as columns_mapped_at,
        min(occurred_at) filter (event_type = 'sheet_operation_performed') as first_operation_at,
        min(occurred_at) filter (event_type = 'import_submitted') as import_submitted_at,
        min(occurred_at) filter (event_number = 1) as first_event_at,
        max(occurred_at) as last_event_at,
        count(*) filter (event_type = 'file_uploaded') as upload_count,
        count(*) filter (event_type = 'columns_mapped') as mapping_count,
        count(*) filter (event_type = 'sheet_operation_performed') as operation_count,
        count(*) filter (event_type = 'embed_resumed') as resumed_count,
        count(*) filter (event_type = 'embed_closed') as closed_count
    from events
    group by embed_id
),

timed as (
    select *, coalesce(initialized_at, first_event_at) as entry_at from sessions
),

-- What single events of the session say: the entry, the last one, and the ones that carry claims or counts.
picked as (
    select
        embed_id,
        any_value(events.template_key) filter (event_number = entry_number) as template_key,
        any_value(events.environment_name) filter (event_number = entry_number) as environment_name,
        any_value(events.trigger_type) filter (event_number = entry_number) as entry_trigger_type,
        any_value(events.event_type) filter (event_number = last_number) as last_event_type,
        any_value(events.import_type) filter (event_number = submitted_number) as import_type,
        any_value(events.event_uuid) filter (event_number = claims_number) as claims_uuid,
        any_value(events.event_uuid) filter (event_number = first_counts_number and not is_unread) as first_counts_uuid,
        any_value(events.event_uuid) filter (event_number = last_counts_number and not is_unread) as last_counts_uuid,
        any_value(events.occurred_at) filter (event_number = last_counts_number) as last_counted_at,
        any_value(events.event_type) filter (event_number = last_counts_number) as last_counted_event_type,
        count(*) filter (
            events.event_type = 'sheet_operation_performed' and event_number > last_counts_number
            and occurred_at is not null
        ) as operations_after_count,
        min(occurred_at) filter (event_type = 'file_uploaded' and occurred_at >= entry_at) as uploaded_from_entry_at,
        min(occurred_at) filter (event_type = 'header_selected' and occurred_at >= entry_at) as selected_from_entry_at,
        min(occurred_at) filter (event_type = 'columns_mapped' and occurred_at >= entry_at) as mapped_from_entry_at,
        min(occurred_at) filter (event_type = 'import_submitted' and occurred_at >= entry_at) as submitted_from_entry_at
    from events
    inner join timed using (embed_id)
    group by embed_id
),

performed as (
    select embed_id, max(step_number) as furthest_number, list(distinct step_number) as step_numbers
    from step_events
    group by embed_id
),

-- How far the best chain gets. Optional steps do not hold it up: an event of any step can end a chain once the required
-- steps before it were done in order. started_at is the latest start of any chain that did required_count of them at or
-- before the event. Of two such chains, the one that started later has more of the window left, so only that one is kept.
-- Each round takes the next required step, except the last, and drops the events that cannot follow it.
chains as (
    select
        embed_id, event_number, step_number, is_optional, required_before, occurred_at,
        1 as required_count,
        max(occurred_at) filter (step_number = 1) over so_far as started_at
    from step_events
    window so_far as (partition by embed_id order by event_number rows unbounded preceding)
    union all
    select
        embed_id, event_number, step_number, is_optional, required_before, occurred_at,
        required_count + 1,
        max(started_at) filter (
            not is_optional and required_before = required_count and occurred_at <= started_at + funnel_window
        ) over so_far
    from chains
    cross join parameters
    where started_at is not null
        and required_before >= required_count
        and required_count < (select max(required_before) from steps)
    window so_far as (partition by embed_id order by event_number rows unbounded preceding)
),

furthest_chains as (
    select
        embed_id,
        max(step_number) filter (
            step_number = 1 or (required_before = required_count and occurred_at <= started_at + funnel_window)
        ) as in_order_step_count
    from chains
    cross join parameters
    where started_at is not null
    group by embed_id
),

-- Only nonsense in a payload gives a total beyond 64 bits. It is capped there, so that it does not stop the build.
error_totals as (
    select event_uuid, least(sum(error_count), 9223372036854775807)::bigint as error_count
    from stg_validation_errors
    group by event_uuid
),

-- What the API's list says of the import. An older answer than the first import_submitted cannot know of it.
deliveries as (
    select embed_id, delivery, fetched_at
    from stg_embeds
    inner join source.embed_statuses on spelling = stg_embeds.status
    inner join timed using (embed_id)
    where import_submitted_at is null or fetched_at >= import_submitted_at
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
    inner join (select embed_id, claims_uuid as event_uuid from picked) using (embed_id, event_uuid)
    cross join parameters
)

select
    timed.embed_id, -- the embed session; not null
    picked.environment_name, -- environment of the entry event
    picked.template_key, -- template of the entry event
    stg_embeds.status, -- the session's status when the API last listed it
    stg_embeds.imported_row_count, -- rows imported, as the API last reported
    latest_claims.user_id, -- the user_id claim of the latest event that has claims
    latest_claims.customer_id, -- the customer's id in those claims: the claim that EMBED_ANALYTICS_CUSTOMER_ID_CLAIM names, else customer_name. The claims policy applied before: what it hashes is a hash here, what it drops is NULL
    latest_claims.customer_name, -- the customer's name there: the claim that EMBED_ANALYTICS_CUSTOMER_CLAIM names, after the claims policy; NULL where the setting or the claim is missing
    latest_claims.plan, -- the customer's plan there: the claim that EMBED_ANALYTICS_PLAN_CLAIM names, after the claims policy; NULL where the setting or the claim is missing
    timed.entry_at, -- when the session began: its first embed_initialized, else its first event; NULL where no event has a plausible time (UTC)
    timed.entry_at::date as entry_date, -- UTC date of entry_at: the cohort
    picked.entry_trigger_type, -- who began it: user, api or automation
    initialized_number is not null as is_entry_observed, -- an embed_initialized was seen; not null
    timed.initialized_at, -- first embed_initialized (UTC)
    timed.file_uploaded_at, -- first file_uploaded (UTC)
    timed.header_selected_at, -- first header_selected (UTC)
    timed.columns_mapped_at, -- first columns_mapped (UTC)
    timed.first_operation_at, -- first sheet_operation_performed (UTC)
    timed.import_submitted_at, -- first import_submitted (UTC)
    deliveries.delivery, -- what became of the import by the API's list: imported, pending or failed; NULL while it has not said so since the first import_submitted, never a sign that nothing arrived. Without an import_submitted the status alone decides
    case when deliveries.delivery is not null then deliveries.fetched_at end as delivery_at, -- when the list said so: the fetch of that answer, which later lists repeat (UTC)
    timed.last_event_at, -- last event of any type; NULL where no event has a plausible time (UTC)
    picked.last_event_type, -- type of the last event; not null
    timed.event_count, -- events of any type, with or without a plausible time; not null
    timed.upload_count, -- file_uploaded events
    timed.mapping_count, -- columns_mapped events
    timed.operation_count, -- sheet_operation_performed events
    timed.resumed_count, -- embed_resumed events
    timed.closed_count, -- embed_closed events
    picked.import_type, -- how the first import_submitted was made
    steps.step as furthest_step, -- the furthest funnel step that was performed; the first one where none was; not null
    list_filter(
        step_names[:steps.step_number], lambda step, number: not list_contains(coalesce(step_numbers, [1]), number)
    ) as skipped_steps, -- the steps before furthest_step whose event was not seen, in the order of the funnel; not null
    case
        when timed.import_submitted_at is not null then 'submitted'
        when timed.last_event_at is null then 'unknown'
        when data_through is null or timed.last_event_at >= data_through - idle_after then 'open'
        when picked.last_event_type = 'embed_closed' then 'closed'
        else 'silent'
    end as outcome, -- submitted; else unknown (no event has a plausible time); else open (an event within idle_after of data_through); else closed (the last event is embed_closed); else silent (the tab was shut); not null
    date_diff('microsecond', timed.entry_at, uploaded_from_entry_at) / 1e6 as seconds_to_upload, -- from entry to the first file_uploaded at or after it
    date_diff('microsecond', timed.entry_at, selected_from_entry_at) / 1e6 as seconds_to_header, -- from entry to the first header_selected at or after it
    date_diff('microsecond', timed.entry_at, mapped_from_entry_at) / 1e6 as seconds_to_mapping, -- from entry to the first columns_mapped at or after it
    date_diff('microsecond', timed.entry_at, submitted_from_entry_at) / 1e6 as seconds_to_submit, -- from entry to the first import_submitted at or after it
    coalesce(in_order_step_count, 0)::bigint as in_order_step_count, -- number of the furthest step that a chain performs: in order within funnel_window, with no step skipped but optional ones; 0 where no embed_initialized was seen; not null
    case when first_counts_uuid is not null then coalesce(first_totals.error_count, 0) end as first_error_count, -- validation errors when they were first counted, as a rule at columns_mapped; NULL where no event reports them, and where some of that report cannot be read
    case when last_counts_uuid is not null then coalesce(last_totals.error_count, 0) end as last_error_count, -- validation errors when they were last counted, at last_counted_at; NULL where no event reports them, and where some of that report cannot be read
    picked.last_counted_at, -- when errors were last counted: the last event with validation error counts, readable or not; NULL where none has them (UTC)
    picked.last_counted_event_type, -- type of that event
    case when last_counts_number is not null then operations_after_count end as operations_after_count, -- sheet operations after it: work that last_error_count does not know of
    last_counts_number >= coalesce(last_change_number, 0) as is_recounted, -- errors were counted at or after the last change of the sheet (a file_uploaded, header_selected, columns_mapped or sheet_operation_performed), so last_error_count still holds; NULL where they never were
    latest_claims.claims, -- JWT payload of the latest event that has one (JSON)
    columns('^claim_')
from timed
cross join parameters
inner join picked using (embed_id)
left join performed using (embed_id)
inner join steps on steps.step_number = coalesce(furthest_number, 1)
cross join (select list(step order by step_number) as step_names from steps) as names
left join furthest_chains using (embed_id)
left join latest_claims using (embed_id)
left join stg_embeds using (embed_id)
left join deliveries using (embed_id)
left join error_totals as first_totals on first_totals.event_uuid = first_counts_uuid
left join error_totals as last_totals on last_totals.event_uuid = last_counts_uuid
order by timed.embed_id
