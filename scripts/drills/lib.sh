# shellcheck shell=bash disable=SC2034,SC2154
# A Debian or Ubuntu of this machine's own release that boots, and how a drill says
# what it saw there. Sourced by the drills after lib.sh, never run. Sets: drill (what
# is kept between runs), work (what is not), leader (the booted system's first
# process), failed.
#
# The tree is made once in .build/drill/tree, from where this machine's apt has its
# packages, and booted by systemd-nspawn on an overlay that is thrown away. Nothing
# outside of .build/drill is touched, and nothing needs a GPU, torch or a network.
# KEEP=1 leaves the system running at the end and says how to look at it.

[ "$(id -u)" = 0 ] || die "a system is booted and namespaces are entered: run it as root"
need debootstrap debootstrap
need systemd-nspawn systemd-container
drill=$build/drill
mkdir -p "$drill"

# --- the tree, made once

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
# shellcheck source=/dev/null
origin=$(. /etc/os-release && echo "${ID^}")
if [ "$(cat "$drill/tree.stamp" 2>/dev/null)" != "$release" ]; then
  # shellcheck disable=SC2016
  site=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)|$(ORIGIN)' 'Created-By: Packages' |
    awk -F'|' -v o="$origin" -v c="$release" '$3 == o && $2 == c { print $1; exit }')
  [ -n "$site" ] || die "apt knows no $origin $release here: nothing to make a tree from"
  say "making $drill/tree, a $origin $release (some minutes, once)"
  rm -rf "$drill/tree"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,git,make,procps,curl,ca-certificates,python3,python3-dev,python3-venv \
    "$release" "$drill/tree" "$site" >"$drill/debootstrap.log" 2>&1 || die "debootstrap failed: see $drill/debootstrap.log"
  echo "$release" >"$drill/tree.stamp"
fi

# --- the system

work=$(mktemp -d "$drill/run.XXXXXX")
mkdir "$work/upper" "$work/work" "$work/root"
nspawn='' leader=''
finish() {
  local status=$?
  if [ -n "${KEEP:-}" ] && [ -n "$leader" ] && kill -0 "$leader" 2>/dev/null; then
    say "left running: nsenter -t $leader -a bash; to end it: kill $nspawn, umount $work/root, rm -rf $work"
    return
  fi
  if [ -n "$nspawn" ]; then
    kill "$nspawn" 2>/dev/null || true # a clean shutdown
    for _ in $(seq 200); do kill -0 "$nspawn" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
  fi
  umount -l "$work/root" 2>/dev/null || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
mount -t overlay overlay -o "lowerdir=$drill/tree,upperdir=$work/upper,workdir=$work/work" "$work/root"

# boot starts what lies in $work/root.
boot() {
  # nspawn would keep Landlock from what it boots, which a machine does not.
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$work/root" --boot --register=no --keep-unit --private-network --console=pipe \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" --machine="drill-$$" --hostname=drill </dev/null >"$work/boot.log" 2>&1 &
  nspawn=$!
  for _ in $(seq 400); do
    read -r leader _ <"/proc/$nspawn/task/$nspawn/children" || true
    if [ -n "$leader" ] && [[ $(nsenter -t "$leader" -a systemctl is-system-running 2>/dev/null) =~ running|degraded ]]; then break; fi
    sleep 0.3
  done
  [[ $(inside systemctl is-system-running 2>&1) =~ running|degraded ]] || { cat "$work/boot.log" >&2; die "the system did not boot"; }
  # nspawn covers parts of /proc, which a machine does not, and where none is whole no
  # sandbox may have its own.
  sh "mkdir -p /run/whole && mount -t proc proc /run/whole"
}

# reboot is an orderly one; power_cut ends everything in the system at once.
# nspawn ends with both, as it would under a unit of its own (--keep-unit).
reboot() {
  sh "systemctl reboot" || true
  again
}
power_cut() {
  kill -KILL "$leader"
  again
}
again() {
  wait "$nspawn" || true
  leader=''
  boot
}

# inside COMMAND…: as root in the booted system.
inside() { nsenter -t "$leader" -a env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }
sh() { inside bash -c "$1"; }

# --- how a step says how it went

# shellcheck source=scripts/drills/say.sh
. "$root/scripts/drills/say.sh"
rm -f "$drill/faults.jsonl"
# outcome notes how the step that ends here went, for `scripts/faults.sh take`.
outcome() {
  local result=passed
  [ "$failed" = "$before" ] || result=failed
  [ -z "$at" ] || tried "scripts/drills/$(basename "$0") $at" "$result" "" "$(machine), a booted $origin $release" "$drill/faults.jsonl"
}

# --- the service

show="systemctl show autoresearchd -p ActiveState,SubState,Result,ExecMainStatus,NRestarts,StatusText"
state=/var/lib/autoresearch
config=/etc/autoresearch/autoresearch.toml
as="runuser -u autoresearch -- env -C $state HOME=$state"
# Marks steer what trials do; they lie in the cache, which a sandbox shows them.
marks=/var/cache/autoresearch/drill
mark() { sh "touch $marks/$1"; }
unmark() { sh "rm -f $marks/$1"; }
# noted prints what the newest trial found.
noted="grep -h '^drill ' \$(ls -t $state/trials/*/run.log | head -n 1)"
set_key() { sh "sed -i 's|^$1 *=.*|$1 = $2|' $config"; }
# training: a trial is held by its gate.
training() { becomes "a trial trains" "$show" "in train"; }

# study makes one of tiny trials, out of daemon/trainer/testdata/work and
# scripts/drills/workspace below /root/autoresearchd; /root/sound.toml is its
# configuration.
study() {
  sh "set -e
install -d -o autoresearch -g autoresearch $marks
cp -r /root/autoresearchd/daemon/trainer/testdata/work $state/workspace
cp /root/autoresearchd/scripts/drills/workspace/train.py $state/workspace/
echo '# what to try' >$state/workspace/program.md
chown -R autoresearch: $state/workspace
$as git -C workspace init -q -b main
$as git -C workspace add -A
$as git -C workspace -c user.name=ada -c user.email=ada@localhost commit -qm start
$as python3 -m venv --without-pip workspace/.venv
mkdir -p /etc/systemd/system/autoresearchd.service.d
printf '[Service]\nRestartSec=1s\n' >/etc/systemd/system/autoresearchd.service.d/drill.conf
systemctl daemon-reload" >/dev/null
  set_key tag '"drill"'
  set_key budget '"5s"'
  set_key strategy '"evolution"'
  set_key rule '"greedy"'
  sh "sed -i '/^\[pruning\]/,/^\$/s|^rule *=.*|rule = \"off\"|' $config; cp $config /root/sound.toml"
}

# verdict ends a drill.
verdict() {
  outcome
  printf '\n'
  if [ "$failed" -gt 0 ]; then
    sh "journalctl -u autoresearchd --no-pager -n 40" >&2 || true
    die "$failed of the drill's checks failed"
  fi
  say "the drill went well: $number steps; scripts/faults.sh take $drill/faults.jsonl notes it"
}
