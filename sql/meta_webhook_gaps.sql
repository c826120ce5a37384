-- Pushed events that may be missing: refused by the receiver although they came with the right secret, or in a segment of its
-- journal that is damaged. What is refused with 429 the vendor sends again, and the poll may bring any of them.
-- grain: gap_id
-- refresh: merge
with gaps as (
    select * from source.webhook_gaps
)

select
    gap_id, -- identity: the segment of the journal that says so, and the place in it; not null
    began_at, -- the hour in which they were refused; for a damaged segment, when it was begun (UTC); not null
    reason, -- too_large, overloaded or disk; damaged for a segment; not null
    refused_count, -- requests that were refused; NULL for a segment
    sweep_id, -- the segment
from gaps
qualify row_number() over (partition by gap_id order by began_at, reason, refused_count, sweep_id) = 1
