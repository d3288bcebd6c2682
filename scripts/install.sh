#!/usr/bin/env bash
# As root: the files of installed.sh's list, user, configuration, state directory.
# PREFIX is /usr/local by default; with DESTDIR, files alone are put below it. It
# builds nothing, since sudo's PATH may well lack go.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/installed.sh
. "$root/scripts/installed.sh"
cd "$root"

prefix=${PREFIX:-/usr/local}
bindir=$prefix/bin
dest=${DESTDIR:-}
bin=${BIN:-bin/autoresearchd}
unit=/etc/systemd/system/autoresearchd.service
sysusers=/usr/lib/sysusers.d/autoresearch.conf
again=$etc/.enabled # left by uninstall.sh where the unit was enabled

[ -x "$bin" ] || die "$bin is missing: run \`make build\` first, as the user who has go"
case $bindir in
/*[[:space:]]*) die "PREFIX=$PREFIX has a blank in it, which the unit could not name: choose another" ;;
/*) ;;
*) die "PREFIX=$PREFIX is not an absolute path" ;;
esac
[ -n "$dest" ] || [ "$(id -u)" = 0 ] ||
  die "make install writes to $bindir, /etc and /var: run it as root (\`sudo make install\`), or name a folder with DESTDIR"

# As `autoresearchd init` looks for a GPU; before a driver's first use its
# devices may be missing.
profile=cpu corpus=python
if [ -e /dev/nvidiactl ] || [ -e /proc/driver/nvidia/version ]; then profile=hopper corpus=hub; fi
budget=$(sed -n "/^\[$profile\.prepare\]/,/^\[/s/^TIME_BUDGET = \([0-9]*\).*/\1s/p" configs/workspace/profiles.toml)

by_hand "$prefix" | put "$dest" "$prefix"
install -d "$dest$etc"
say "installed $dest$bindir/autoresearchd and $dest$unit"
if [ -e "$dest$config" ]; then
  say "kept $dest$config"
else
  # The budget that the profile for this machine is made for; a folder may go to
  # any machine.
  if [ -n "$dest" ]; then configured; else configured "$budget"; fi >"$dest$config"
  chmod 0644 "$dest$config"
  say "wrote $dest$config"
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

# The folder that the installer stands in may be closed to the user.
if ! said=$(runuser -u "$user" -- env -C "$state" HOME="$state" "$bindir/autoresearchd" --help 2>&1); then
  say "$said"
  library=$(ldd "$bin" 2>/dev/null | awk '/libpython/ && $3 ~ "^/" { print $3 }' || true)
  if [[ $said == *libpython* ]]; then
    die "the user $user cannot start $bindir/autoresearchd, since it cannot read ${library:-its libpython}:
build it with an interpreter that every user can read, AUTORESEARCH_PYTHON=/usr/bin/python3 make build, and install again"
  fi
  die "the user $user cannot start $bindir/autoresearchd, as said above: fix that and install again"
fi

booted= # by systemd
if [ -d /run/systemd/system ]; then
  booted=yes
  systemctl daemon-reload
fi
if [ -e "$again" ] && command -v systemctl >/dev/null 2>&1; then
  systemctl enable --quiet autoresearchd
  rm -f "$again"
  say "enabled autoresearchd again: so it was when it was uninstalled"
fi

as_user="runuser -u $user -- env -C $state HOME=$state"
start="systemctl start autoresearchd"
enabled=$(systemctl is-enabled autoresearchd 2>/dev/null || true)
if [ -z "$booted" ]; then
  start="$as_user $bindir/autoresearchd run --config $config   # systemd is not running here"
elif [ "$enabled" = disabled ]; then
  start="systemctl enable --now autoresearchd"
elif [[ $enabled == masked* ]]; then
  start="systemctl unmask autoresearchd && systemctl enable --now autoresearchd"
fi

# Where nothing is named, the program's own default holds; "" is no page.
listen=127.0.0.1:9797
if grep -q '^listen *= *"' "$config"; then listen=$(sed -n 's/^listen *= *"\([^"]*\)".*/\1/p' "$config" | head -n 1); fi
page=
if [ -n "$listen" ]; then page="the page, while it runs: http://$listen/; from elsewhere over: ssh -L ${listen##*:}:$listen HOST"; fi

workspace=$(sed -n 's/^workspace *= *"\([^"]*\)".*/\1/p' "$config" | head -n 1)
case $workspace in
/*) ;;
*) workspace=$etc/$workspace ;;
esac
if [ -e "$workspace/train.py" ]; then
  if [ -z "$booted" ]; then
    say "to continue: $start"
  elif ! systemctl is-active --quiet autoresearchd; then
    said="is not running"
    if [ "$enabled" != enabled ]; then said="$said and is $enabled, so it will not start at boot either"; fi
    say "autoresearchd $said: $start"
  else
    say "still running the old binary: systemctl restart autoresearchd"
    if [ "$enabled" != enabled ]; then say "it is $enabled, and will not start at boot: systemctl enable autoresearchd"; fi
  fi
  [ -z "$page" ] || say "$page"
  exit 0
fi

variables=
if ! grep -q '^cache *= *"[^"]' "$config"; then variables=" AUTORESEARCH_CACHE=$cache"; fi
say "
next, as root:
  $as_user$variables $bindir/autoresearchd init $state --profile $profile --corpus $corpus
  $start"
if [ -n "$booted" ]; then say "  journalctl -fu autoresearchd"; fi
[ -z "$page" ] || say "$page"
if [ "$profile" = hopper ]; then
  say "where the hub cannot be reached: --corpus python, the text of the Python installation, or --corpus FOLDER with text of your own"
else
  say "no NVIDIA driver was found: this is a small study on the CPU, to look around; on a machine with a GPU, use --profile hopper --corpus hub"
fi
has=$(sed -n 's/^budget *= *"\([^"]*\)".*/\1/p' "$config" | head -n 1)
if [ "${has:-300s}" != "$budget" ]; then
  say "$config has budget = \"${has:-300s}\"; the profile $profile is made for \"$budget\""
fi
