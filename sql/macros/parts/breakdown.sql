-- For macros with an argument "by": what is wrong with it, and each session's value of it, as text.
unknown_by as (
    select
        'by is neither a column of fct_embeds nor a claim path in meta_claims: ' || any_value("by"::varchar)
            || '. Did you mean ' || arg_max(name, jaro_winkler_similarity(name, "by"::varchar)) || '?' as problem
    from (select unnest([/* breakdown_names */]) as name union all select path from meta_claims)
    -- Before the first session nobody knows what claims there will be.
    where "by" is not null and (exists (from fct_embeds) or exists (from meta_claims))
    having not bool_or(name = "by"::varchar)
),

broken_down as (
    select
        *,
        case
            when "by" is null then null
            /* breakdown_columns */
            when "by" in (select path from meta_claims) then claims ->> claim_pointer("by")
        end as breakdown
    from fct_embeds
)
