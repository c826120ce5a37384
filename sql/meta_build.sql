-- The build that made this file: one row.
-- grain: build_id
-- refresh: whole
with build as (
    select * from source.build
),

parameters as (
    select data_through, plausible_from, plausible_until, idle_after, funnel_window from source.parameters
),

latest_sweep as (
    select sweep_id, failed_count
    from meta_sweeps
    where is_complete and started_at <= (select built_at from build)
    qualify row_number() over (order by started_at desc, sweep_id desc) = 1
),

sizes as (
    select json_group_object(table_name, row_count) as table_rows
    from (select table_name, row_count from source.table_rows order by table_name)
)

select
    build_id, -- identity of the build; sorts by time; not null
    built_at, -- when it was built (UTC); not null
    data_through, -- start of the latest complete sweep: events before it are in this build; a sweep dated after the build is ignored (UTC)
    plausible_from, -- an earlier time is a mistake: it changes no outcome, order or chart (UTC)
    plausible_until, -- a later time changes nothing either, until data_through comes within a day of it (UTC)
    code_version, -- the code that built it: the package's version, a +, and a digest of pipelines/ and sql/; not null
    is_full, -- built from nothing rather than continued from the build before; not null
    previous_build_id, -- the build that was published before, which this one continued: its file, or an older one brought up to date; NULL for a full build
    coalesce(failed_count, 0) as failed_embed_count, -- embeds that failed in the sweep that set data_through
    table_rows, -- rows of each table: a JSON object
    epoch(idle_after) as idle_after_seconds, -- setting: a session idle for longer than this is no longer open
    epoch(funnel_window) as funnel_window_seconds, -- setting: time a session has to convert
    chain_link_count, -- links of the chain of raw when this was built; a chain with fewer has lost its end; NULL where the end could not be read
    chain_head, -- digest of the last of these links (SHA-256, hex; zeros where there is none), which no later link changes; NULL where the end could not be read
from build
cross join parameters
cross join sizes
left join latest_sweep on true
