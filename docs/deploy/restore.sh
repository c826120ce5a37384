#!/bin/sh
# Puts a copy that backup.sh made into an empty home. `embed-analytics publish` then makes everything else.
#
#     restore.sh COPY HOME
#
# Run it as the user that the services run as, before they start. If it was killed, start it again.
set -eu
umask 077

copy=${1:?usage: restore.sh COPY HOME}
home=${2:?usage: restore.sh COPY HOME}

fail() {
    echo "restore.sh: $*" >&2
    exit 1
}

[ -d "$copy/raw" ] || [ -d "$copy/webhooks" ] || fail "$copy has neither raw/ nor webhooks/: is it a copy of backup.sh?"
if [ -d "$home" ] && ! [ -e "$home/.restoring" ] && [ -n "$(ls -A "$home")" ]; then
    fail "$home is not empty: name another folder"
fi

mkdir -p "$home"
touch "$home/.restoring"
for part in raw webhooks home.json annotations.csv; do
    if [ -e "$copy/$part" ]; then
        rsync --recursive --times --chmod=D700,F600 --exclude='.*' "$copy/$part" "$home/"
    fi
done
sync
rm "$home/.restoring"
[ ! -d "$home/raw/keyrings" ] || echo "restore.sh: its claims are encrypted: put the copy of backup-keys.sh into $home/keys"
echo "restore.sh: $home has what $copy held; next: embed-analytics publish"
