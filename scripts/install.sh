#!/usr/bin/env bash
# As root: binary, unit, user, configuration, state directory. PREFIX is
# /usr/local by default; with DESTDIR, files alone are put below it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

bindir=${PREFIX:-/usr/local}/bin
dest=${DESTDIR:-}
bin=${BIN:-bin/autoresearchd}
etc=/etc/autoresearch
state=/var/lib/autoresearch
cache=/var/cache/autoresearch
user=autoresearch
unit=/etc/systemd/system/autoresearchd.service
sysusers=/usr/lib/sysusers.d/autoresearch.conf

[ -n "$dest" ] || [ "$(id -u)" = 0 ] ||
  die "make install writes to $bindir, /etc and /var: run it as root, or name a folder with DESTDIR"
[ -x "$bin" ] || die "$bin is missing: run \`make build\` first"

install -d "$dest$bindir" "$dest$etc" "$dest${unit%/*}" "$dest${sysusers%/*}"
install -m 0755 "$bin" "$dest$bindir/autoresearchd"
sed "s|/usr/local/bin/|$bindir/|g" configs/systemd/autoresearchd.service >"$dest$unit"
chmod 0644 "$dest$unit"
install -m 0644 configs/systemd/autoresearch.sysusers.conf "$dest$sysusers"
say "installed $dest$bindir/autoresearchd and $dest$unit"
if [ -e "$dest$etc/autoresearch.toml" ]; then
  say "kept $dest$etc/autoresearch.toml"
else
  install -m 0644 autoresearch.toml "$dest$etc/autoresearch.toml"
  say "wrote $dest$etc/autoresearch.toml"
fi

if [ -n "$dest" ]; then
  install -d -m 0750 "$dest$state" "$dest$cache"
  exit 0
fi

if ! id "$user" >/dev/null 2>&1; then
  if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers "$sysusers"
  else
    useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$user"
    for group in video render; do
      if getent group "$group" >/dev/null; then usermod --append --groups "$group" "$user"; fi
    done
  fi
  say "made the user $user"
fi
install -d -m 0750 -o "$user" -g "$user" "$state" "$cache"

as_user() { runuser -u "$user" -- env HOME="$state" "$@"; }
if ! as_user "$bindir/autoresearchd" --help >/dev/null 2>&1; then
  die "the user $user cannot start $bindir/autoresearchd; it needs $(ldd "$bin" 2>/dev/null | awk '/libpython/ { print $3 }'):
build it with an interpreter that every user can read, such as AUTORESEARCH_PYTHON=/usr/bin/python3, and install again"
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  if systemctl is-active --quiet autoresearchd; then say "still running the old binary: systemctl restart autoresearchd"; fi
fi

if [ -e "$state/workspace/train.py" ]; then exit 0; fi
cat >&2 <<EOF
next, as root:
  runuser -u $user -- env HOME=$state AUTORESEARCH_CACHE=$cache $bindir/autoresearchd init $state --profile hopper --corpus hub
  systemctl enable --now autoresearchd
  journalctl -fu autoresearchd
EOF
