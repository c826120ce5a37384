-- A claim path, as meta_claims writes it, as a JSON pointer: claims ->> claim_pointer('org.Plan Name'). Dots separate the
-- levels of a path; a dot or backslash within a key has a backslash before it.
create or replace macro claim_pointer(path) as
'/' || replace(replace(
    replace(replace(replace(replace(replace(path, '\\', chr(1)), '\.', chr(2)), '~', '~0'), '/', '~1'), '.', '/'),
    chr(2), '.'
), chr(1), '\');
