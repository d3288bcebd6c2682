#!/usr/bin/env bash
# Trials an hour of SEATS seats against one, in alternation, ROUNDS times. The
# seats share this machine's cores out, and the trials sleep as long as real
# ones on a GPU took, forty times as fast: it is the daemon's part that is
# measured, and no training. Fails below 0.975 of SEATS.
# With CLUSTER=1, root only, the seats are on the nodes of a Slurm of its own.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$root"
scripts/build.sh
# shellcheck source=/dev/null
. "$build/env"
seats=${SEATS:-2} trials=${TRIALS:-9}
scratch=$(mktemp -d)
end() {
  [ ! -d "$scratch/slurm" ] || scripts/slurm.sh down "$scratch/slurm"
  rm -rf "$scratch"
}
trap end EXIT
"$AUTORESEARCH_PYTHON" -m venv --without-pip "$scratch/venv"
cp -r daemon/trainer/testdata/work "$scratch/workspace"
cp scripts/bench_seats/train.py "$scratch/workspace/train.py"
git -C "$scratch/workspace" init -q
git -C "$scratch/workspace" add -A
git -C "$scratch/workspace" -c user.name=bench -c user.email=bench@localhost commit -qm start
cat >"$scratch/autoresearch.toml" <<END
[study]
workspace = "workspace"
[trial]
python = "../venv/bin/python"
budget = "7500ms"
[search]
strategy = "random"
[search.space]
SCALE = "fixed"
[judge]
rule = "greedy"
[http]
listen = ""
END
if [ -n "${CLUSTER:-}" ]; then
  scripts/slurm.sh up "$scratch/slurm" "$seats"
  export SLURM_CONF=$scratch/slurm/slurm.conf
fi
run() { # run NAME SEATS TRIALS
  local devices='"cpu:0"' n
  for ((n = 1; n < $2; n++)); do devices+=", \"cpu:$n\""; done
  local where=(--set "trial.devices=[$devices]")
  if [ -n "${CLUSTER:-}" ]; then where=(--set "trial.devices=[]" --set "seats=[{ kind = \"slurm\", count = $2, time = \"1h\" }]"); fi
  bin/autoresearchd --config "$scratch/autoresearch.toml" run --trials "$3" --set "study.state=$scratch/$1" --set "study.tag=$1" \
    "${where[@]}" >"$scratch/$1.log" 2>&1 || { cat "$scratch/$1.log" >&2; die "the study of $1 failed"; }
}
for ((round = 1; round <= ${ROUNDS:-2}; round++)); do
  run "one$round" 1 "$trials"
  run "several$round" "$seats" $(((trials - 1) * seats + 1))
done
python3 - "$seats" "$scratch" "${ROUNDS:-2}" <<'END'
import sys
sys.path.insert(0, "scripts/bench_seats")
from rate import rate, trials
seats, scratch, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ratios = []
for n in range(1, rounds + 1):
    one, several = (rate(trials("bin/autoresearchd", f"{scratch}/{name}{n}")) for name in ("one", "several"))
    ratios.append(several / one)
    print(f"trials an hour on recorded sleeps: one seat {one:.1f}, {seats} seats {several:.1f}: {ratios[-1]:.3f} times as many")
if min(ratios) < 0.975 * seats:
    sys.exit(f"{seats} seats do less than {0.975 * seats:.2f} times the trials of one")
END
