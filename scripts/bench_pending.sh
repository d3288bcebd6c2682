#!/usr/bin/env bash
# What it costs a search that several trials run at once, in simulation:
#   scripts/bench_pending.sh          each strategy, 20 seeds of four tasks, up to 384 trials; goes on where it was stopped
#   scripts/bench_pending.sh night    what a night has, 24 and 96 trials a seat: up to 1,536 at 16 seats; a portfolio's
#                                     study then takes 13 to 40 s of a core
#   scripts/bench_pending.sh short    the portfolio and evolution on one task, 10 seeds, 100 trials
#   scripts/bench_pending.sh judged   the portfolio under confirm, whose re-runs take places too
#   scripts/bench_pending.sh rules    what becomes of a trial that had begun when another became the champion
# Leaves its record under .build/bench_pending; OUT names another folder, and a
# changed search needs a fresh one. JOBS are studies at once, SEEDS their number.
# The strategies were tuned on the tasks cpu, ellipsoid, rosenbrock and schaffer,
# which are none of those here.
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
night) play --seeds "${SEEDS:-10}" --strategies portfolio evolution cmaes tpe sobol --rounds 24 96 ;;
short) play --seeds "${SEEDS:-10}" --tasks hopper --strategies portfolio evolution --marks 50 100 ;;
judged) play --seeds "${SEEDS:-20}" --strategies portfolio --marks 50 100 200 --judge confirm ;;
rules) play --seeds "${SEEDS:-20}" --strategies portfolio evolution --marks 100 --pending 2 4 --drawn --rules ;;
'')
  play --seeds "${SEEDS:-20}" --strategies portfolio evolution cmaes tpe random sobol gp --marks 24 96 192 384
  ;;
*) die "unknown mode $1: see the head of scripts/bench_pending.sh" ;;
esac
