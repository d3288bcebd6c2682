#!/usr/bin/env bash
# The benchmarks (make bench); each prints ratios measured side by side in one
# run, or times of one machine that are named as such:
#   scripts/bench.sh          all of them
#   scripts/bench.sh embed    train.py inside autoresearchd against `python train.py`, CPU
#   scripts/bench.sh daemon   the daemon's resident memory, and its time from start to ready
#   scripts/bench.sh overhead what a trial costs beside its counted training, under the daemon and as plain python, CPU
#   scripts/bench.sh seats    trials an hour of two seats against one, on recorded sleeps
#   scripts/bench.sh cost     what the loop takes of a core beside 1 and 64 seats with scripted trainers, here and on simulated nodes, and a scrape and a status then
#   scripts/bench.sh metrics  a scrape of /metrics at 1,000 trials, while a trial trains
#   scripts/bench.sh page     answers of /api/v1 at 1,000 and 10,000 trials, 50 watchers of its events, and the page in Chromium
#   scripts/bench.sh search   our strategies against Optuna's samplers, short form of make bench-search
#   scripts/bench.sh pending  trials for the same regret when 4 and 16 run at once, in simulation, short form of scripts/bench_pending.sh
#   scripts/bench.sh ask      one proposal at 1,000 trials of upstream's constants, ours and Optuna's
#   scripts/bench.sh pruning  what [pruning] saves and costs, on curves recorded from real studies
#   scripts/bench.sh llm      the portfolio with a modelled language model, from useless to strong
# What needs a GPU is in scripts/gpu.sh.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

embed() {
  scripts/study.sh
  "$build/study/workspace/.venv/bin/python" scripts/embed_vs_python.py \
    --binary bin/autoresearchd --python "$build/study/workspace/.venv/bin/python" \
    --workspace "$build/study/workspace" --cache "$build/study/cache" \
    --seconds 15 --eval-tokens 8192 --pairs "${PAIRS:-5}" --warm-up --at-least 0.98
}

daemon() { scripts/bench_daemon.sh; }

overhead() {
  scripts/study.sh
  mkdir -p "$build/bench"
  "$build/study/workspace/.venv/bin/python" scripts/bench_overhead.py --binary bin/autoresearchd --study "$build/study" \
    --trials "${TRIALS:-4}" --rounds "${ROUNDS:-3}" --keep "$build/bench/overhead.jsonl" --below 1.0
}

seats() { scripts/bench_seats/bench.sh; }

cost() {
  scripts/setup.sh
  # shellcheck source=/dev/null
  . "$build/env"
  go test -run '^$' -bench '^Benchmark(Remote)?Seats$' -benchtime 1x ./daemon/supervisor
}

metrics() { scripts/bench_metrics.sh; }

page() { scripts/bench_page.sh; }

search() { scripts/bench_search.sh short; }

pending() { scripts/bench_pending.sh short; }

ask() { scripts/bench_search.sh ask; }

pruning() {
  scripts/go.sh test ./search/prune -count=1 -run '^TestRecordedStudies$' -v | sed -n -e 's/^ *replay_test.go:[0-9]*: //p' -e '/FAIL/p'
}

llm() {
  scripts/build.sh
  # shellcheck source=/dev/null
  . "$build/env"
  "$AUTORESEARCH_PYTHON" scripts/bench_search/modelled.py --seeds "${SEEDS:-40}"
}

uname -srm
grep -m1 'model name' /proc/cpuinfo || true
for part in "${@:-embed}"; do
  case $part in
  embed | daemon | overhead | seats | cost | metrics | page | search | pending | ask | pruning | llm) ;;
  *) die "unknown part $part: see the head of scripts/bench.sh" ;;
  esac
done
if [ $# = 0 ]; then set -- embed daemon overhead seats cost metrics page search pending ask pruning llm; fi
for part; do
  printf '== %s\n' "$part"
  "$part"
done
