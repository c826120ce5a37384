-- For macros of funnels: the steps as rows, and what is wrong with the arguments.
labels as (
    select
        step_number, label,
        split_part(label, ':', 1) as base,
        case when contains(label, ':') then substr(label, strpos(label, ':') + 1) end as wanted_operation,
        list_contains(optional::varchar[], label) as is_optional
    from (select unnest(steps::varchar[]) as label, generate_subscripts(steps, 1) as step_number)
),

excluded_labels as (
    select
        label,
        split_part(label, ':', 1) as base,
        case when contains(label, ':') then substr(label, strpos(label, ':') + 1) end as wanted_operation
    from (select unnest(exclude::varchar[]) as label)
),

-- The rows of a funnel.
funnel_steps as (
    select
        step_number, false as is_delivery,
        case when mode = 'any' then 'any ' || step_number else label end as label
    from labels
    union all
    select len(steps) + 1, true, 'delivered' where conversion = 'delivered'
),

-- What the arguments name, beside what it could name.
named as (
    select
        split_part(label, ':', 1) as base,
        case when contains(label, ':') then substr(label, strpos(label, ':') + 1) end as wanted_operation
    from (
        select unnest(list_concat(list_concat(steps::varchar[], optional::varchar[]), exclude::varchar[])) as label
    )
),

unknown_types as (
    select
        'the event type ' || base || ' is not in the vendor''s list and was never seen. Did you mean '
            || arg_max(event_type, jaro_winkler_similarity(event_type, base)) || '?' as problem
    from named
    cross join meta_event_types
    where base is not null
    group by base
    having not bool_or(event_type = base)
),

-- Where no operation has been seen, nobody knows what they are called.
unknown_operations as (
    select
        'the operation ' || wanted_operation || ' of ' || base || ' was never seen. Did you mean '
            || arg_max(
                event_type || ':' || operation,
                (event_type = base)::int + jaro_winkler_similarity(operation, wanted_operation)
            ) || '?' as problem
    from named
    cross join (select distinct event_type, operation from stg_embed_events where operation is not null) as seen
    where wanted_operation is not null
    group by base, wanted_operation
    having not bool_or(event_type = base and operation = wanted_operation)
),

-- Every event that could perform the step is excluded.
excluded_steps as (
    select
        'exclude has ' || excluded.label || ', which leaves no event for the step ' || wanted.label
            || '. Take one of them out' as problem
    from excluded_labels as excluded
    inner join labels as wanted
        on wanted.base = excluded.base
        and (excluded.wanted_operation is null or excluded.wanted_operation = wanted.wanted_operation)
),

argument_problems as (
    select case
        when (select build_id from meta_build) <> /* build_id */
            then 'this /* macro_name */() belongs to another warehouse than the one in use. Run USE with the name of its'
                || ' database first, or connect to its file'
        when mode is null or mode not in ('ordered', 'strict', 'any')
            then 'mode is ordered, strict or any, not ' || coalesce(mode::varchar, 'NULL')
        when unit is null or unit not in ('embed', 'user')
            then 'unit is embed or user, not ' || coalesce(unit::varchar, 'NULL')
        when by_period not in ('day', 'week', 'month')
            then 'by_period is day, week, month or NULL, not ' || by_period::varchar
        when conversion is null or conversion not in ('submitted', 'delivered')
            then 'conversion is submitted or delivered, not ' || coalesce(conversion::varchar, 'NULL')
        when include_immature is null then 'include_immature is true or false, not NULL'
        when window_seconds < 0 then 'window_seconds is negative: ' || window_seconds::varchar
        when coalesce(len(steps), 0) = 0 then 'steps is empty: name at least one event type'
        when optional is null then 'optional is NULL: [] lets no step be skipped'
        when exclude is null then 'exclude is NULL: [] excludes nothing'
        when (select count(*) from named where base is null) > 0 then 'a step is NULL'
        else coalesce(
            (select min(problem) from unknown_types),
            (select min(problem) from unknown_operations),
            (select min(problem) from excluded_steps),
            (select min(problem) from bad_dates),
            (select min(problem) from unknown_by)
        )
    end as problem
)
