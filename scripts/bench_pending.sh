#!/usr/bin/env bash
# What it costs a search that several trials run at once, in simulation:
#   scripts/bench_pending.sh          each strategy, 20 seeds of four tasks, up to 400 trials (gp and the
#                                     portfolio, which ask gp, 200); goes on where it was stopped
#   scripts/bench_pending.sh short    the portfolio and evolution on one task, 10 seeds, 100 trials
#   scripts/bench_pending.sh judged   the portfolio under confirm, whose re-runs take places too
#   scripts/bench_pending.sh rules    what becomes of a trial that had begun when another became the champion
# Leaves its record under .build/bench_pending; OUT names another folder, and a
# changed search needs a fresh one. JOBS are studies at once, SEEDS their number.
# The strategies were tuned on the tasks cpu, ellipsoid and rosenbrock, which are
# none of those here.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
scripts/build.sh
# shellcheck source=/dev/null
. "$build/env"
play() {
  nice -n 19 "$AUTORESEARCH_PYTHON" scripts/bench_search/pending.py --out "${OUT:-$build/bench_pending}" \
    --jobs "${JOBS:-1}" "$@"
}

uname -srm
case ${1:-} in
short) play --seeds "${SEEDS:-10}" --tasks hopper --strategies portfolio evolution --marks 50 100 ;;
judged) play --seeds "${SEEDS:-20}" --strategies portfolio --marks 50 100 200 --judge confirm ;;
rules) play --seeds "${SEEDS:-20}" --strategies portfolio evolution --marks 100 --pending 2 4 --drawn --rules ;;
'')
  play --seeds "${SEEDS:-20}" --strategies evolution cmaes tpe random sobol
  play --seeds "${SEEDS:-20}" --strategies portfolio gp --marks 50 100 200
  ;;
*) die "unknown mode $1: see the head of scripts/bench_pending.sh" ;;
esac
