#!/bin/sh
# Copies what nothing else can make again of a home: raw/, the journal of webhooks, home.json and annotations.csv. No
# settings and no keys are in the copy: backup-keys.sh copies keys/ to another place.
#
#     backup.sh HOME COPY
#
# HOME may be in use. COPY is a folder of this machine, on another disk. The first backup copies everything, the next
# ones what is new. A backup that is killed at any instant leaves COPY with all that it held before: start it again.
set -eu
umask 077

home=${1:?usage: backup.sh HOME COPY}
copy=${2:?usage: backup.sh HOME COPY}

fail() {
    echo "backup.sh: $*" >&2
    exit 1
}

# Names that begin with a dot are files that are being written, of the home or of rsync. A file has its name in the copy
# only when it is on the disk: it would not be copied again.
take() {
    rsync --recursive --times --copy-links --fsync --chmod=D700,F600 --exclude='.*' "$@"
}

[ -d "$home/raw" ] || [ -d "$home/webhooks" ] || fail "$home has neither raw/ nor webhooks/: is it a home, and its disk there?"
for folder in raw webhooks; do
    [ ! -d "$copy/$folder" ] || [ -d "$home/$folder" ] || fail "$home/$folder is missing, and $copy has one: is its disk there?"
done
if [ -e "$home/home.json" ] && [ -e "$copy/home.json" ] && ! cmp -s "$home/home.json" "$copy/home.json"; then
    fail "$copy belongs to another home: name another folder. If the account was renamed, remove $copy/home.json."
fi

began=$(date -u +%Y-%m-%dT%H:%M:%SZ)
mkdir -p "$copy"

# A segment of the journal goes from the home once its events are in raw/. Those that have gone by now may go from the
# copy, too, but only when raw/ has been copied after now.
set --
for segment in "$copy"/webhooks/*.journal; do
    if [ -e "$segment" ] && ! [ -e "$home/webhooks/${segment##*/}" ]; then
        set -- "$@" "$segment"
    fi
done

# Which keys have encrypted claims comes before any such claim: who has the copy then knows what can be read.
if [ -d "$home/raw/keyrings" ]; then
    mkdir -p "$copy/raw"
    take --ignore-existing "$home/raw/keyrings/" "$copy/raw/keyrings/" || fail "raw/keyrings/ was not copied whole"
fi

# The journal first: an event that leaves it meanwhile is in raw/ when raw/ is copied. A segment that grows is copied as
# far as it goes, and whole the next time. 24: rsync says that one has gone.
if [ -d "$home/webhooks" ]; then
    take --ignore-times "$home/webhooks/" "$copy/webhooks/" || [ $? -eq 24 ] || fail "webhooks/ was not copied whole"
fi
# The chain before what it lists: then each of its links in the copy has its file there. No file of raw/ changes, so what
# is damaged in the home later does not reach the copy.
if [ -d "$home/raw/chain" ]; then
    mkdir -p "$copy/raw"
    take --ignore-existing "$home/raw/chain/" "$copy/raw/chain/" || fail "raw/chain/ was not copied whole"
fi
if [ -d "$home/raw" ]; then
    take --ignore-existing "$home/raw/" "$copy/raw/" || fail "raw/ was not copied whole"
fi
for name in home.json annotations.csv; do
    [ ! -e "$home/$name" ] || take "$home/$name" "$copy/$name" || fail "$name was not copied"
done

# The names, too, are on the disk before anything goes.
sync
for segment; do
    rm -f -- "$segment"
done
# What backups that were killed have left.
find "$copy" -type f -name '.*.*' -mtime +1 -exec rm -f {} +
echo "backup.sh: $copy has what $home held at $began"
