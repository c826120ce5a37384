-- No open embed has been without an answer for so long that retention could delete an event before it is fetched.
-- table: meta_sweeps
-- severity: warn
-- finds: open sessions without an answer for too long: {unasked_embed_count}
select sweep_id, started_at, unasked_embed_count, first_loss_at
from meta_sweeps
where sweep_id = (
        select max_by(sweep_id, (coalesce(finished_at, started_at), sweep_id))
        from meta_sweeps
        -- A sweep whose clock was ahead would stay the latest one until that time has come.
        where started_at <= (select built_at from source.build)
    )
    and unasked_embed_count > 0
