#!/usr/bin/env bash
# A Slurm of its own on this host, for tests: one controller, several slurmd with
# ports of their own, munge with a socket of its own; everything in one folder,
# on loopback, ended by process id. Root only, since slurmd is.
#   scripts/slurm.sh up DIR [NODES]      starts it (4 nodes n1, n2, …); DIR/slurm.conf is its SLURM_CONF
#     the last has what Slurm takes for a GPU; partitions: main, short (a minute at most), urgent (takes the nodes of the others' jobs)
#   scripts/slurm.sh node DIR N          starts slurmd nN again
#   scripts/slurm.sh controller DIR      starts slurmctld again
#   scripts/slurm.sh down DIR            ends all of it; DIR stays
# DIR/pid/ holds a process id each: munged, slurmctld, n1, n2, …
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -ge 2 ] || die "usage: scripts/slurm.sh up|node|controller|down DIR"
[ "$(id -u)" = 0 ] || die "slurmd runs as root: start this as root"
dir=$(realpath -m "$2")
export SLURM_CONF=$dir/slurm.conf

# begin NAME COMMAND…: starts a daemon that stays in the foreground.
begin() {
  local name=$1
  shift
  setsid "$@" </dev/null >"$dir/log/$name.out" 2>&1 &
  echo $! >"$dir/pid/$name"
}

controller() { begin slurmctld slurmctld -D -f "$SLURM_CONF"; }
node() { begin "n$1" slurmd -D -f "$SLURM_CONF" -N "n$1"; }

# eventually WHAT COMMAND…: waits until the command holds.
eventually() {
  local what=$1 i
  shift
  for ((i = 0; i < 300; i++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  tail -n 5 "$dir"/log/* >&2
  die "$what within 30 s: the logs are in $dir/log"
}

# free_ports N: so many that nobody listens on now, next to each other.
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys
count = int(sys.argv[1])
while True:
    first = random.randrange(20000, 32000)
    held = []
    try:
        for port in range(first, first + count):
            s = socket.socket()
            held.append(s)
            s.bind(("127.0.0.1", port))
    except OSError:
        continue
    finally:
        for s in held:
            s.close()
    print(first)
    break
PY
}

all_idle() { [ "$(sinfo -h -p main -N -o %t | grep -c '^idle')" = "$1" ]; }

up() {
  local nodes=$1 ports host i
  need munged munge
  need slurmctld slurm-wlm
  mkdir -p "$dir"/{pid,log,state,spool,munge}
  chmod 755 "$dir" "$dir/munge"
  head -c 1024 /dev/urandom >"$dir/munge/key"
  chmod 400 "$dir/munge/key"
  host=$(hostname -s) ports=$(free_ports $((nodes + 1)))
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ports
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/pid/slurmctld.own
SlurmdPidFile=$dir/pid/%n.own
SlurmctldLogFile=$dir/log/slurmctld
SlurmdLogFile=$dir/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
SwitchType=switch/none
ReturnToService=1
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=2
MinJobAge=20
InactiveLimit=0
UnkillableStepTimeout=20
GresTypes=gpu
OverTimeLimit=0
CONF
  for ((i = 1; i <= nodes; i++)); do
    echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((ports + i)) CPUs=1 RealMemory=512$([ "$i" != "$nodes" ] || echo ' Gres=gpu:1') State=UNKNOWN"
  done >>"$SLURM_CONF"
  echo "NodeName=n$nodes Name=gpu File=/dev/null" >"$dir/gres.conf" # of which no driver knows
  cat >>"$SLURM_CONF" <<CONF
PartitionName=main Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n[1-$nodes] MaxTime=INFINITE State=UP PriorityTier=2
PartitionName=short Nodes=n[1-$nodes] MaxTime=1 State=UP PriorityTier=1
CONF
  begin munged munged --foreground --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
    --log-file="$dir/log/munged" --pid-file="$dir/pid/munged.own" --seed-file="$dir/munge/seed"
  eventually "munged did not start" test -S "$dir/munge/socket"
  controller
  for ((i = 1; i <= nodes; i++)); do node "$i"; done
  eventually "the $nodes nodes were not there" all_idle "$nodes"
}

down() {
  local file pid i
  # What runs is cancelled first: a job's processes are not slurmd's children.
  timeout 5 scancel --user=root >/dev/null 2>&1 || true
  for ((i = 0; i < 50; i++)); do
    [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
    sleep 0.1
  done
  for file in "$dir"/pid/n* "$dir/pid/slurmctld" "$dir/pid/munged"; do
    case $file in *.own) continue ;; esac
    pid=$(cat "$file" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || true
    for ((i = 0; i < 50; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$file"
  done
}

case $1 in
up) up "${3:-4}" ;;
node) node "$3" ;;
controller) controller ;;
down) down ;;
*) die "unknown command $1: see the head of scripts/slurm.sh" ;;
esac
