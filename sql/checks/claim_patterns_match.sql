-- Every claim that a setting names exists: a pattern of the policy fits a claim of the tokens that were read since it was
-- set, any other path is one of meta_claims. Case matters: path_in_other_case is what it may have meant. Of tokens that
-- were read before a pattern was set, what was dropped then is not known.
-- table: meta_claims
-- severity: warn
-- finds: claims that settings name and no token has: {pattern}
select setting, pattern, path_in_other_case
from source.claim_patterns
where not is_matched
