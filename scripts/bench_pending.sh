#!/usr/bin/env bash
# What it costs a search that several trials run at once, in simulation:
#   scripts/bench_pending.sh          20 seeds of four tasks, each strategy; goes on where it was stopped
#   scripts/bench_pending.sh short    the portfolio and evolution on one task, 10 seeds
#   scripts/bench_pending.sh rules    what becomes of a trial that had begun when another became the champion
# Leaves its record under .build/bench_pending; OUT names another folder, and a
# changed search needs a fresh one. JOBS are studies at once, SEEDS their number.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
scripts/build.sh
# shellcheck source=/dev/null
. "$build/env"
play() {
  nice -n 5 "$AUTORESEARCH_PYTHON" scripts/bench_search/pending.py --out "${OUT:-$build/bench_pending}" \
    --jobs "${JOBS:-2}" "$@"
}

uname -srm
case ${1:-} in
short) play --seeds "${SEEDS:-10}" --tasks hopper --strategies portfolio evolution --equal ;;
rules) play --seeds "${SEEDS:-20}" --strategies portfolio evolution --pending 2 4 --rules ;;
'') play --seeds "${SEEDS:-20}" --strategies portfolio evolution gp tpe cmaes sobol random ;;
*) die "unknown mode $1: see the head of scripts/bench_pending.sh" ;;
esac
