-- For macros with from_date and to_date: which of them is not a date.
bad_dates as (
    select any_value(name) || ' is not a date: ' || any_value(given) || '. Write date ''2026-01-31''' as problem
    from (
        select unnest(['from_date', 'to_date']) as name, unnest([from_date::varchar, to_date::varchar]) as given
    )
    where given is not null and try_cast(given as date) is null
    group by name
)
