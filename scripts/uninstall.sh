#!/usr/bin/env bash
# As root: takes away what install.sh put there, except data, configuration
# and user. PREFIX and DESTDIR as there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

bindir=${PREFIX:-/usr/local}/bin
dest=${DESTDIR:-}
unit=/etc/systemd/system/autoresearchd.service

[ -n "$dest" ] || [ "$(id -u)" = 0 ] ||
  die "make uninstall removes files from $bindir and /etc: run it as root, or name a folder with DESTDIR"

systemd=
if [ -z "$dest" ] && [ -d /run/systemd/system ]; then systemd=yes; fi
if [ -n "$systemd" ] && [ -e "$unit" ]; then systemctl disable --now autoresearchd; fi
rm -f "$dest$bindir/autoresearchd" "$dest$unit" "$dest/usr/lib/sysusers.d/autoresearch.conf"
if [ -n "$systemd" ]; then systemctl daemon-reload; fi
say "removed $dest$bindir/autoresearchd and $dest$unit"
say "kept $dest/etc/autoresearch, $dest/var/lib/autoresearch, $dest/var/cache/autoresearch and the user autoresearch"
