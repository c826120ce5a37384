-- The text of the first of these claims that is a scalar. `pointers` are JSON pointers into `claims`; NULL names no claim.
-- An object, an array and null have no text, as in the claim columns.
create or replace temp macro claim_text(claims, pointers) as
list_filter(
    list_transform(
        pointers,
        lambda pointer: case when json_type(claims, pointer) not in ('OBJECT', 'ARRAY', 'NULL') then claims ->> pointer end
    ),
    lambda claim: claim is not null
)[1];
