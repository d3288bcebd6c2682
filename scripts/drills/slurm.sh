#!/usr/bin/env bash
# Plays a study on the seats of a real Slurm, four slurmd on this host, and takes
# away from it what a cluster takes away, at random moments: nodes, their daemons,
# the controller, allocations, and the study's own daemon. It ends with 1 if a
# trial is lost or doubled, a seat does not come back, or anything is left.
#
#   sudo scripts/drills/slurm.sh     (slurm-wlm and munge; 12 minutes)
#   ROUNDS=20 SEED=7                 so many random mishaps, and which
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$root"
# shellcheck source=scripts/drills/say.sh
. scripts/drills/say.sh
outcome() { :; }
sh() { bash -c "$1"; }

[ "$(id -u)" = 0 ] || die "slurmd runs as root: start this as root"
scripts/build.sh
# shellcheck source=/dev/null
. "$build/env"
rounds=${ROUNDS:-20} seed=${SEED:-$RANDOM}
RANDOM=$seed
work=$(mktemp -d /tmp/autoresearchd-drill.XXXXXX)
export SLURM_CONF=$work/slurm/slurm.conf
daemon=''
finish() {
  local status=$?
  if [ -n "$daemon" ]; then kill -KILL "$daemon" 2>/dev/null || true; fi
  if [ "$status" != 0 ] && [ -f "$work/daemon.log" ]; then
    cp "$work/daemon.log" "$build/drill-slurm.log"
    say "what the daemon said is in $build/drill-slurm.log"
  fi
  [ ! -d "$work/slurm" ] || scripts/slurm.sh down "$work/slurm" || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

# --- the study: trials of some four seconds that train nothing

"$AUTORESEARCH_PYTHON" -m venv --without-pip "$work/venv"
cp -r daemon/trainer/testdata/work "$work/workspace"
cp scripts/bench_seats/train.py "$work/workspace/train.py"
git -C "$work/workspace" init -q
git -C "$work/workspace" add -A
git -C "$work/workspace" -c user.name=drill -c user.email=drill@localhost commit -qm start
cat >"$work/autoresearch.toml" <<END
[study]
tag = "drill"
workspace = "workspace"
state = "state"
[trial]
python = "../venv/bin/python"
devices = []
budget = "2500ms"
[search]
strategy = "random"
[search.space]
SCALE = "fixed"
[judge]
rule = "greedy"
[http]
listen = ""
[[seats]]
kind = "slurm"
count = 4
partition = "main"
time = "1h"
END

study() { bin/autoresearchd --config "$work/autoresearch.toml" "$@"; }
begin() {
  bin/autoresearchd --config "$work/autoresearch.toml" run </dev/null >>"$work/daemon.log" 2>&1 &
  daemon=$!
}
# seen EXPRESSION: of the seats, in Python.
seen() { study status --json 2>/dev/null | python3 -c "import json, sys; seats = json.load(sys.stdin)['seats']; print($1)" 2>/dev/null || true; }
ended() { study trials --runs --json | python3 -c 'import json, sys; print(sum(r["status"] not in ("", "running") for r in json.load(sys.stdin)))'; }
job() { squeue -h -t R -o '%i %j' | awk -v seat="/$1/" 'index($2, seat) { print $1; exit }'; }

# back SECONDS: all four seats have nodes of their own, and eight more trials end.
back() {
  local deadline=$((SECONDS + $1)) hosts=0 from now
  while [ "$hosts" != 4 ]; do
    [ "$SECONDS" -lt "$deadline" ] || { FAIL "all four seats have nodes: $hosts have, after $1 s" "$(seen seats)"; return; }
    sleep 0.5
    hosts=$(seen 'len({s["host"] for s in seats if s["host"]})')
  done
  from=$(ended) now=$from
  while [ "$now" -lt $((from + 8)) ]; do
    [ "$SECONDS" -lt "$deadline" ] || { FAIL "trials go on: $((now - from)) ended, after $1 s" "$(seen seats)"; return; }
    sleep 0.5
    now=$(ended)
  done
  ok "four seats, and trials end: $now"
}

# --- what may happen; each says how many trials it may cost

seats=(slurm:0 slurm:1 slurm:2 slurm:3)
most=0
any_seat() { echo "${seats[RANDOM % 4]}"; }
any_node() { echo "n$((RANDOM % 4 + 1))"; }
moment() { sleep "$((RANDOM % 5)).$((RANDOM % 10))"; }
usable() { # a node is refused while what ran there still ends
  local i
  for ((i = 0; i < 300; i++)); do
    scontrol update "nodename=$1" state=resume 2>/dev/null || true
    [[ $(sinfo -h -p main -n "$1" -o %T) == d* ]] || return 0
    sleep 0.2
  done
  FAIL "$1 does not come back" "$(scontrol show node "$1")"
}
# running SEAT: its job, waited for.
running() {
  local i id
  for ((i = 0; i < 600; i++)); do
    id=$(job "$1")
    if [ -n "$id" ]; then echo "$id"; return; fi
    sleep 0.2
  done
}

drain() { local n; n=$(any_node); printf '    %s drains\n' "$n"; scontrol update "nodename=$n" state=drain reason=drill; moment; usable "$n"; }
down() { local n; n=$(any_node); printf '    %s is down\n' "$n"; most=$((most + 1)); scontrol update "nodename=$n" state=down reason=drill; moment; usable "$n"; }
node_daemon() {
  local n
  n=$(any_node)
  printf '    slurmd of %s is killed\n' "$n"
  most=$((most + 1))
  kill -KILL "$(cat "$work/slurm/pid/$n")"
  moment
  scripts/slurm.sh node "$work/slurm" "${n#n}"
}
controller() {
  printf '    slurmctld is killed\n'
  most=$((most + 4)) # what it has not written down it ends
  kill -KILL "$(cat "$work/slurm/pid/slurmctld")"
  moment
  scripts/slurm.sh controller "$work/slurm"
  until sinfo -h >/dev/null 2>&1; do sleep 0.2; done
}
taken() { local s; s=$(any_seat); printf "    %s's allocation is cancelled\n" "$s"; most=$((most + 1)); scancel "$(running "$s")"; }
expired() {
  local s id
  s=$(any_seat) id=$(running "$s")
  printf "    %s's allocation expires\n" "$s"
  most=$((most + 1))
  scontrol update "jobid=$id" timelimit=1
  until [ -z "$(squeue -h -t R -j "$id" 2>/dev/null)" ]; do sleep 0.5; done
}
preempted() {
  local s id urgent
  s=$(any_seat) id=$(running "$s")
  printf "    %s's allocation is preempted\n" "$s"
  most=$((most + 1))
  urgent=$(sbatch --parsable --partition=urgent --nodelist="$(squeue -h -j "$id" -o %N)" --output=/dev/null --chdir=/ --wrap='exec sleep 1000')
  until [ "$(squeue -h -j "$urgent" -o %T)" = RUNNING ]; do sleep 0.2; done
  moment
  scancel "$urgent"
}
requeued() {
  local s id
  s=$(any_seat) id=$(running "$s")
  printf "    %s's allocation is queued again\n" "$s"
  most=$((most + 1))
  scontrol update "jobid=$id" requeue=1
  scontrol requeue "$id"
  moment
  until scontrol update "jobid=$id" starttime=now 2>/dev/null; do sleep 0.2; done # else it waits for two minutes
}
killed() {
  printf '    the daemon is killed\n'
  most=$((most + 4))
  kill -KILL "$daemon"
  wait "$daemon" 2>/dev/null || true
  whole
  moment
  begin
}
# whole: what is recorded agrees, and no trial is there twice.
whole() {
  local said
  if ! said=$(study verify 2>&1); then FAIL "journal, git, results.tsv and bundles agree" "$said"; fi
}

step "four nodes, four seats"
scripts/slurm.sh up "$work/slurm" 4
begin
back 120

for what in drain down node_daemon controller taken expired preempted requeued killed killed killed; do
  step "$what"
  moment
  "$what"
  back 240
done

step "$rounds random mishaps, seed $seed"
mishaps=(drain down node_daemon controller taken preempted requeued killed killed killed)
for ((round = 1; round <= rounds; round++)); do
  moment
  "${mishaps[RANDOM % ${#mishaps[@]}]}"
done
back 300

step "the end"
ends 0 "stop" "bin/autoresearchd --config '$work/autoresearch.toml' stop"
code=0
wait "$daemon" || code=$?
daemon=''
if [ "$code" = 0 ]; then ok "the daemon ends (0)"; else FAIL "the daemon ended with $code" "$(tail -n 20 "$work/daemon.log")"; fi
becomes "no allocation is left" "squeue -h | grep . || echo none" none 60
becomes "no step is left" "squeue -h -s | grep . || echo none" none 60
becomes "no process is left" "grep -lasF 'AUTORESEARCH_SEAT=' /proc/[0-9]*/environ 2>/dev/null | xargs -r grep -lasF '$work' || echo none" none 60
ends 0 "journal, git, results.tsv and bundles agree" "bin/autoresearchd --config '$work/autoresearch.toml' verify"
code=0
said=$(study trials --runs --json | python3 -c '
import collections, json, sys
runs = json.load(sys.stdin)
ids, how = [r["id"] for r in runs], collections.Counter(r["status"] for r in runs)
assert sorted(ids) == list(range(1, len(ids) + 1)), "not each trial has one row: %s" % ids
assert set(how) <= {"completed", "interrupted"}, "some failed: %s" % how
assert how["interrupted"] <= int(sys.argv[1]), "%d were interrupted, at most %s may be" % (how["interrupted"], sys.argv[1])
print("each of %d trials has one row: %d completed, %d interrupted (at most %s)" % (len(ids), how["completed"], how["interrupted"], sys.argv[1]))
' "$most" 2>&1) || code=$?
if [ "$code" = 0 ]; then ok "$said"; else FAIL "each trial has one row" "$said"; fi

printf '\n'
[ "$failed" = 0 ] || die "$failed of the drill's checks failed"
say "the drill went well: $number steps, seed $seed, $(machine)"
