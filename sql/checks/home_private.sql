-- Only the owner and the group that EMBED_ANALYTICS_GROUP names can enter the home. To close it: chmod o-rwx on the folder.
-- table: meta_build
-- severity: warn
-- finds: everybody can enter {path}
select path, mode
from source.home
where is_open_to_others
