#!/bin/sh
# Installs the Debian package in a root of its own, runs it there, upgrades, removes and purges it: `make deb-check`.
# Usage: try.sh PACKAGE.deb ROOT
set -eu
package=$1 root=$2

[ -d "$root/etc" ] || debootstrap --variant=minbase --include=adduser stable "$root" > "$root.log"
cp "$package" "$root/roost.deb"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT

chroot "$root" sh -eu <<'INSIDE'
export DEBIAN_FRONTEND=noninteractive
fail() { echo "error: $1" >&2; [ ! -f /tmp/roost.log ] || cat /tmp/roost.log >&2; exit 1; }
as_roost() { su -s /bin/sh roost -c "cd /var/lib/roost && $1"; }
start() {
    as_roost 'roost run --config /etc/roost/roost.toml --plugins plugins --data data --http off --mqtt mqtt://127.0.0.1:1 \
        > /tmp/roost.log 2>&1 & echo $!' > /tmp/pid
    for _ in $(seq 120); do grep -q "$1" /tmp/roost.log && return; sleep 0.5; done
    fail "the log does not show: $1"
}
stop() {
    kill "$(cat /tmp/pid)"
    for _ in $(seq 120); do kill -0 "$(cat /tmp/pid)" 2> /dev/null || return 0; sleep 0.25; done
    fail "it does not stop"
}

dpkg --purge roost > /dev/null 2>&1 || true
rm -rf /var/lib/roost /tmp/roost.log
dpkg -i /roost.deb
as_roost 'cp /usr/share/roost/plugins/coop-door.* plugins/'
start 'jobs of .coop-door.: 4 new'
as_roost 'roost jobs' | grep -q coop-door/north/open || fail "the jobs are not shown"
stop
[ "$(stat -c %U:%a /var/lib/roost/data)" = roost:700 ] || fail "the data folder is open to others"

dpkg -i /roost.deb
start 'with 1 plugin, 4 jobs'
stop

dpkg --remove roost
[ -f /etc/roost/roost.toml ] && [ -f /var/lib/roost/data/roost.db ] || fail "removing the package removed settings or data"
dpkg --purge roost
[ ! -e /etc/roost ] && [ ! -e /var/lib/roost/data ] || fail "purging the package left settings or data"
[ -f /var/lib/roost/plugins/coop-door.wasm ] || fail "purging the package removed a plugin"
INSIDE
echo "installed, run, upgraded, removed and purged"
