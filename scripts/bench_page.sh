#!/usr/bin/env bash
# What /api/v1 costs, at 1,000 and at 10,000 trials: the time of its largest
# answers, asked for anew and again, and what 50 watchers of its events take of
# a core, while a trial trains and every second brings an event. The goal is
# less than 2 % of a core. Then the answers that tell of seats, beside 64 of them
# against one. Then the page itself in Chromium: milliseconds to its first paint
# (goal: 1,000 at 1,000 trials, 2,000 at 10,000), to the whole of it, of the
# longest frame while its table is scrolled from end to end, and of the longest
# while four events come; also beside 64 seats.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
scripts/browser.sh
# shellcheck source=/dev/null
. "$build/env"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go build -o "$scratch/serve" ./scripts/serve
for trials in ${TRIALS:-1000 10000}; do
  python3 scripts/bench_page.py "$scratch/serve" "$trials" --seconds "${SECONDS_EACH:-30}"
done
python3 scripts/bench_answers.py "$scratch/serve" /api/v1/status / --seconds "${SECONDS_EACH:-30}"
AUTORESEARCH_TEST_CHROMIUM=$(command -v chromium) go test -run '^$' -bench BenchmarkOpen -benchtime "${OPENED:-9}x" ./daemon/httpd/page
