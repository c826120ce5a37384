#!/bin/sh
# Copies the keys of a home's encrypted claims, which backup.sh leaves out: who has both copies can read all claims.
#
#     backup-keys.sh HOME COPY
#
# HOME may be in use. COPY is a folder that no copy of raw/ lies in or is copied to. It has the keys as they are now: keys
# that were erased since the last time leave it. It needs python3. If it is killed, COPY is what it was: start it again.
set -eu
umask 077

home=${1:?usage: backup-keys.sh HOME COPY}
copy=${2:?usage: backup-keys.sh HOME COPY}

fail() {
    echo "backup-keys.sh: $*" >&2
    exit 1
}

[ -e "$home/keys/keys.sqlite" ] || fail "$home has no keys: has it encrypted claims, and is its disk there?"
[ ! -e "$copy/raw" ] || fail "$copy has a copy of raw/: name a folder elsewhere"

mkdir -p "$copy"
for file in "$home"/keys/*.sqlite; do
    new="$copy/.new-${file##*/}"
    rm -f -- "$new"
    # A file that is in use is not whole without what SQLite keeps beside it.
    python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("vacuum into ?", sys.argv[2:])' "$file" "$new" ||
        fail "$file was not copied"
    sync
    mv -f -- "$new" "$copy/${file##*/}"
done
sync
echo "backup-keys.sh: $copy has the keys of $home"
