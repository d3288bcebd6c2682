#!/usr/bin/env bash
# As root: takes away what install.sh put there, except data, configuration
# and user. PREFIX and DESTDIR as there; without PREFIX, the unit says where
# the binary is.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/installed.sh
. "$root/scripts/installed.sh"

dest=${DESTDIR:-}
unit=/etc/systemd/system/autoresearchd.service
bindir=/usr/local/bin
if [ -n "${PREFIX:-}" ]; then
  bindir=$PREFIX/bin
elif [ -e "$dest$unit" ]; then
  bindir=$(sed -n 's|^ExecStart=\(/.*\)/autoresearchd run .*|\1|p' "$dest$unit")
fi

[ -n "$dest" ] || [ "$(id -u)" = 0 ] ||
  die "make uninstall removes files from $bindir and /etc: run it as root (\`sudo make uninstall\`), or name a folder with DESTDIR"

systemd=
if [ -z "$dest" ] && command -v systemctl >/dev/null 2>&1; then systemd=yes; fi
if [ -n "$systemd" ] && [ -e "$unit" ]; then
  if systemctl is-enabled --quiet autoresearchd 2>/dev/null; then
    install -d "$etc"
    : >"$etc/.enabled"
    say "autoresearchd was enabled, and will be again when it is installed again"
  fi
  now=
  if [ -d /run/systemd/system ]; then now=--now; fi
  # shellcheck disable=SC2086
  systemctl disable --quiet $now autoresearchd || die "autoresearchd could not be stopped and disabled, as said above: nothing was removed"
fi

removed=()
while IFS='|' read -r _ _ file; do
  if [ -e "$dest$file" ]; then
    rm -f "$dest$file"
    removed+=("$dest$file")
  fi
done < <(by_hand "${bindir%/bin}")
if [ -n "$systemd" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
if [ "${#removed[@]}" = 0 ]; then
  say "nothing was installed: there is neither $dest$bindir/autoresearchd nor $dest$unit"
else
  say "removed ${removed[*]}"
fi
kept=
for folder in $etc $state $cache $unit.d; do
  if [ -e "$dest$folder" ]; then kept="$kept $dest$folder"; fi
done
if [ -z "$kept" ]; then exit 0; fi
if [ -n "$dest" ]; then say "kept$kept"; else say "kept$kept and the user $user; to be rid of them: rm -r$kept; userdel $user"; fi
