#!/usr/bin/env bash
# Records training curves of real trials, for whoever changes the rule that ends
# hopeless ones (search/prune; make bench replays them):
#   scripts/record_curves.sh STRATEGY SEED TRIALS
# runs a study of the CPU starter, or goes on with it, under
# .build/curves/STRATEGY-SEED. A budget in steps makes the curves independent of
# what else the machine does; the model's shape is kept small so that a trial
# takes a quarter of a minute. `scripts/record_curves.sh write` then rewrites
# search/prune/testdata/curves.jsonl.gz from all studies that are there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

budget="100 steps"
if [ "${1:-}" = write ]; then
  shopt -s nullglob
  studies=("$build"/curves/*/)
  [ "${#studies[@]}" -gt 0 ] || die "nothing is recorded: run scripts/record_curves.sh STRATEGY SEED TRIALS first"
  for study in "${studies[@]}"; do
    bin/autoresearchd --config "$study/autoresearch.toml" export --format jsonl -o "$study/trials.jsonl"
  done
  mkdir -p search/prune/testdata
  # shellcheck source=/dev/null
  . "$build/env"
  "$AUTORESEARCH_PYTHON" scripts/record_curves.py "${studies[@]}" >search/prune/testdata/curves.jsonl.gz
  exit 0
fi
strategy=${1:?strategy} seed=${2:?seed} trials=${3:?trials}
scripts/study.sh
study=$build/curves/$strategy-$seed
if [ ! -f "$study/autoresearch.toml" ]; then
  mkdir -p "$study"
  git clone -q "$build/study/workspace" "$study/workspace"
  ln -s "$build/study/workspace/.venv" "$study/workspace/.venv"
  sed -i 's/^TOTAL_BATCH_SIZE = .*/TOTAL_BATCH_SIZE = 2**12  # tokens per optimizer step/' "$study/workspace/train.py"
  git -C "$study/workspace" -c user.name=curves -c user.email=curves@localhost commit -qam "Take half a batch a step"
  sed -e "s|^cache .*|cache = \"$build/study/cache\"|" -e "s|^budget .*|budget = \"$budget\"|" -e "s|^seed .*|seed = $seed|" \
    -e "s|^strategy .*|strategy = \"$strategy\"|" -e 's|^listen .*|listen = ""|' -e 's|^tag .*|tag = "curves"|' \
    -e 's|^total .*|total = "1800s"|' -e '/^\[search.space\]/r /dev/stdin' "$build/study/autoresearch.toml" >"$study/autoresearch.toml" <<'SPACE'
TOTAL_BATCH_SIZE  = "fixed"
DEVICE_BATCH_SIZE = "fixed"
HEAD_DIM          = { choices = [16, 32] }
MODEL_DIM         = { choices = [32, 64, 96] }
DEPTH             = { low = 1, high = 3, integer = true }
MLP_RATIO         = { low = 1, high = 6, integer = true }
SPACE
fi
# One thread each, so that several studies share the cores without spinning.
OMP_NUM_THREADS=1 bin/autoresearchd --config "$study/autoresearch.toml" run --trials "$trials"
