-- The latest sweep listed the embeds, asked every one that was due, and none failed.
-- table: meta_sweeps
-- severity: warn
-- finds: the latest sweep did not get everything: {sweep_id}
select sweep_id, kind, started_at, is_complete, failed_count
from meta_sweeps
where sweep_id = (
        select max_by(sweep_id, (coalesce(finished_at, started_at), sweep_id))
        from meta_sweeps
        -- A sweep whose clock was ahead would stay the latest one until that time has come.
        where started_at <= (select built_at from source.build)
    )
    and (not is_complete or failed_count > 0)
